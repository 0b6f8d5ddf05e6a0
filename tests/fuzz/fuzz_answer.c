/* SPDX-License-Identifier: MIT */
/*
 * What a model answered: JSON, perhaps in a fence or with prose around it.
 * Oracle: an answer that is taken as good is strict JSON and satisfies the schema, read and checked
 *         anew; one that is not has its reasons listed.
 */
#include "fuzz.h"
#include "pipeline/answer.h"
#include "pipeline_fixture.h"

FUZZ_TARGET(answer)
{
    const struct pipeline_fixture *f = pipeline_fixture();
    struct op_answer_checker *checker = op_answer_checker_new(f->plan);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf list;
    struct op_err err = OP_ERR_INIT;
    struct op_str answer = OP_STR_NULL;
    struct op_json v;
    bool mended = false;
    op_buf_init(&list, 1 << 20);
    size_t bad = op_answer_check(checker, 0, fuzz_rest(in), &answer, &mended, &list);
    FUZZ_CHECK((bad > 0) == (list.len > 0), "%zu violations: %s", bad, list.ptr);
    if (!bad) {
        enum op_rc rc = op_json_parse(parser, answer.ptr, answer.len, false, &v, &err);
        FUZZ_CHECK(!rc && !op_json_parser_repaired(parser), OP_STR_FMT, OP_STR_ARG(answer));
        op_buf_clear(&list);
        bad = op_schema_check(f->plan->requests[0].schema, v, 20, &list);
        FUZZ_CHECK(!bad, "%s: " OP_STR_FMT, list.ptr, OP_STR_ARG(answer));
    }
    op_answer_checker_free(checker);
}
