/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_DRIVER_H
#define OP_PROVIDER_DRIVER_H

/*
 * Model:     what every driver needs to write its side of the wire: a params form with holes, URLs
 *            made of parts that came from outside, raw slices of lines that pass through, and the
 *            reading of remote text for messages. Included by drivers only.
 * Ownership: as in provider/provider.h; nothing here keeps state.
 * Threads:   pure functions.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "provider/provider.h"

/* --- params with holes ---------------------------------------------------------------------- */

/* The params of one request without its prompts: schema, examples and tools may be large. */
#define OP_PARAMS_MAX (4 * 1024 * 1024)

void op_params_form_init(struct op_params_form *form);
/* Cuts form->text inside the empty JSON string that was written last: the hole's text goes between
 * its quotes. At most 3 holes. */
void op_params_form_hole(struct op_params_form *form, enum op_prompt_hole hole);
/* Adds the literal after the last hole and points the parts into the text, which must not grow any
 * more. OP_INVAL naming file when the params are too large. */
OP_MUST_CHECK enum op_rc op_params_form_finish(struct op_params_form *form, const char *file,
                                               struct op_err *err);

/* --- slots a provider has no use for -------------------------------------------------------- */

/* OP_NOTFOUND, err untouched: there is nothing to begin or to end with. */
enum op_rc op_no_upload_begin(const struct op_lane *lane, const struct op_create *what,
                              struct op_exchange *ret, struct op_err *err);
enum op_rc op_no_upload_end(const struct op_lane *lane, const struct op_http_reply *begun,
                            struct op_exchange *ret, struct op_err *err);
/* The others are never called (has_upload false, no document): OP_INVAL says so. */
enum op_rc op_no_upload(const struct op_lane *lane, const struct op_create *what,
                        const struct op_http_reply *begun, struct op_exchange *ret,
                        struct op_err *err);
enum op_rc op_no_decode_upload(const struct op_http_reply *reply, struct op_remote_file *ret,
                               struct op_err *err);
enum op_rc op_no_files(const struct op_lane *lane, const char *cursor, struct op_exchange *ret,
                       struct op_err *err);
enum op_rc op_no_decode_files(const struct op_http_reply *reply,
                              void (*fn)(void *arg, const struct op_remote_file *file),
                              void *arg, char next_cursor[256], struct op_err *err);
enum op_rc op_no_remove_file(const struct op_lane *lane, const char *file_id,
                             struct op_exchange *ret, struct op_err *err);
enum op_rc op_no_unfold(struct op_json document, struct op_buf *ret_lines, struct op_err *err);

/* --- URLs ----------------------------------------------------------------------------------- */

/* Appends text with everything but RFC 3986's unreserved characters percent-encoded. */
void op_url_add_escaped(struct op_buf *url, const char *text);
/* True when url is absolute, has no user part, white space or control character, and has the
 * scheme, host and port of base: only then may it be asked with our key. */
bool op_url_same_origin(const char *base, const char *url);

/* --- raw text ------------------------------------------------------------------------------- */

/* The raw text of member name of the object that line holds; root is the same line parsed, so that
 * an escaped or repeated name means the same here as there (the last one wins). OP_NOTFOUND (err
 * untouched) when there is none, OP_INVAL when line and root do not agree. */
OP_MUST_CHECK enum op_rc op_raw_member(struct op_json root, struct op_str line,
                                       const char *name, struct op_str *ret,
                                       struct op_err *err);

/* Remote text made fit for a message: cut to size - 1 bytes at a character's edge, control
 * characters become spaces. Returns ret. */
const char *op_remote_text(struct op_str text, char *ret, size_t size);

/* True when text holds the word, ASCII letters compared without case. */
bool op_str_mentions(struct op_str text, const char *word);

#endif
