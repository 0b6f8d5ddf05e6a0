/* SPDX-License-Identifier: MIT */
#include "cli/table.h"

#include "base/mem.h"
#include "view/text.h"

#define CELL_MAX (64 * 1024)

void op_table_init(struct op_table *table, const char *spec)
{
    *table = (struct op_table){0};
    struct op_str rest = op_str_from(spec);
    while (rest.ptr && table->column_count < OP_TABLE_COLUMNS) {
        struct op_str title = op_str_cut(&rest, '|');
        bool right = op_str_starts(title, ">");
        table->right[table->column_count] = right;
        if (right)
            title = (struct op_str){title.ptr + 1, title.len - 1};
        table->titles[table->column_count++] = op_arena_strdup(&table->arena, title);
    }
}

void op_table_release(struct op_table *table)
{
    op_arena_release(&table->arena);
    op_mem_free(table->cells);
    *table = (struct op_table){0};
}

void op_table_add(struct op_table *table, const char *fmt, ...)
{
    OP_CLEANUP(op_buf_release) struct op_buf raw = {0};
    OP_CLEANUP(op_buf_release) struct op_buf clean = {0};
    op_buf_init(&raw, CELL_MAX);
    op_buf_init(&clean, CELL_MAX);
    va_list ap;
    va_start(ap, fmt);
    op_buf_vaddf(&raw, fmt, ap);
    va_end(ap);
    op_text_line(&clean, op_buf_str(&raw), 0);
    if (table->cell_count == table->room) {
        table->room = table->room ? table->room * 2 : 64;
        table->cells = op_mem_realloc(table->cells, table->room * sizeof(*table->cells));
    }
    table->cells[table->cell_count++] = op_arena_strdup(&table->arena, op_buf_str(&clean));
}

static void print_row(const struct op_table *table, const char *const *cells,
                      const size_t *widths, size_t total, struct op_buf *out)
{
    size_t used = table->indent, last = table->column_count - 1;
    op_buf_addf(out, "%*s", (int)table->indent, "");
    for (size_t c = 0; c <= last; c++) {
        struct op_str cell = op_str_from(cells[c]);
        size_t width = op_text_width(cell);
        size_t pad = widths[c] > width ? widths[c] - width : 0;
        if (c > 0)
            op_buf_addz(out, "  ");
        if (table->right[c])
            op_buf_addf(out, "%*s", (int)pad, "");
        if (c == last && total > 0)
            op_text_line(out, cell, total > used + 10 ? total - used : 10);
        else
            op_buf_add_str(out, cell);
        if (!table->right[c] && c < last)
            op_buf_addf(out, "%*s", (int)pad, "");
        used += widths[c] + 2;
    }
    while (out->len > 0 && out->ptr[out->len - 1] == ' ')
        out->ptr[--out->len] = '\0';
    op_buf_addc(out, '\n');
}

void op_table_print(const struct op_table *table, size_t width, struct op_buf *out)
{
    size_t widths[OP_TABLE_COLUMNS] = {0};
    for (size_t c = 0; c < table->column_count; c++)
        widths[c] = op_text_width(op_str_from(table->titles[c]));
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t one = op_text_width(op_str_from(table->cells[i]));
        size_t c = i % table->column_count;
        widths[c] = one > widths[c] ? one : widths[c];
    }
    print_row(table, table->titles, widths, width, out);
    for (size_t i = 0; i + table->column_count <= table->cell_count; i += table->column_count)
        print_row(table, table->cells + i, widths, width, out);
}
