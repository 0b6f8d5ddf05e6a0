/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_JSON_OUT_H
#define OP_BASE_JSON_OUT_H

/*
 * Model:     writing JSON straight into an op_buf. The writer puts the commas: between values of
 *            one container it remembers only whether one was written, in a bit per depth.
 *                op_json_out_object(&o); op_json_out_name(&o, "id"); op_json_out_int(&o, 7);
 *                op_json_out_end_object(&o);
 * Ownership: the struct is the caller's and borrows the buffer. Failure is the buffer's.
 * Threads:   one thread at a time.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

struct op_json_out {
    struct op_buf *buf;
    uint64_t has_item; /* bit per depth */
    int depth;
    int indent; /* spaces per level; 0 = compact */
    bool after_name;
};

void op_json_out_init(struct op_json_out *out, struct op_buf *buf, int indent);
void op_json_out_object(struct op_json_out *out);
void op_json_out_end_object(struct op_json_out *out);
void op_json_out_array(struct op_json_out *out);
void op_json_out_end_array(struct op_json_out *out);
void op_json_out_name(struct op_json_out *out, const char *name);
void op_json_out_name_str(struct op_json_out *out, struct op_str name);
void op_json_out_str(struct op_json_out *out, struct op_str s); /* null when s.ptr is NULL */
void op_json_out_text(struct op_json_out *out, const char *text);
void op_json_out_int(struct op_json_out *out, int64_t value);
void op_json_out_double(struct op_json_out *out,
                        double value); /* shortest form that reads back */
void op_json_out_bool(struct op_json_out *out, bool value);
void op_json_out_null(struct op_json_out *out);
void op_json_out_value(struct op_json_out *out, struct op_json v); /* copies a parsed value */
void op_json_out_raw(struct op_json_out *out, struct op_str json); /* trusted JSON text */

/* name + value in one call. */
void op_json_out_kv_str(struct op_json_out *out, const char *name, struct op_str s);
void op_json_out_kv_text(struct op_json_out *out, const char *name, const char *text);
void op_json_out_kv_int(struct op_json_out *out, const char *name, int64_t value);
void op_json_out_kv_bool(struct op_json_out *out, const char *name, bool value);

/* The escaped content of a JSON string, without the quotes. SIMD scan for what needs escaping;
 * invalid UTF-8 becomes U+FFFD so that the result is always valid JSON. */
void op_json_escape(struct op_buf *buf, const char *ptr, size_t len);
/* The shortest decimal text that reads back as the same double, as Python prints it (without a
 * trailing ".0", but for -0.0: "-0" is an integer); NaN and infinities become null. Returns the
 * length; ret has 32 bytes. */
size_t op_json_format_double(double value, char *ret);
/* A value as JSON text, compact. */
void op_json_write(struct op_buf *buf, struct op_json v);
/* As op_json_write, members sorted by name: equal values give equal bytes. */
void op_json_write_canonical(struct op_buf *buf, struct op_json v);

#endif
