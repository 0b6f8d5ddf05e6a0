/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_TABLE_H
#define OP_CLI_TABLE_H

/*
 * Model:     rows in aligned columns for a person. Columns are as wide as their widest cell;
 *            the last one is cut at the terminal's width.
 * Ownership: the table copies its cells.
 * Threads:   one.
 */

#include "base/arena.h"
#include "base/buf.h"

#define OP_TABLE_COLUMNS 12

struct op_table {
    struct op_arena arena;
    const char *titles[OP_TABLE_COLUMNS];
    bool right[OP_TABLE_COLUMNS];
    size_t column_count;
    size_t indent;
    const char **cells; /* row by row */
    size_t cell_count, room;
};

/* spec: titles separated by '|'; a title that begins with '>' is right-aligned. */
void op_table_init(struct op_table *table, const char *spec);
void op_table_release(struct op_table *table);
/* Adds the next cell, cleaned of controls. */
void op_table_add(struct op_table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* width 0: no terminal, nothing is cut. Prints the titles too. */
void op_table_print(const struct op_table *table, size_t width, struct op_buf *out);

#endif
