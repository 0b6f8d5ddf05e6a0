/* SPDX-License-Identifier: MIT */
/* The program's own main, under another name. */
int offpeak_main(int argc, char **argv);
#define main offpeak_main
#include "../../../src/cli/main.c"
