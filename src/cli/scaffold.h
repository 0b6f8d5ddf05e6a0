/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_SCAFFOLD_H
#define OP_CLI_SCAFFOLD_H

/* The files of a new pipeline: a complete small one that runs as it is. {{name}} and {{dir}}
 * stand for its name and its folder; everything else in braces is the pipeline's own. */
struct op_scaffold_file {
    const char *name, *text;
};
extern const struct op_scaffold_file op_scaffold[]; /* ends with name NULL */

#endif
