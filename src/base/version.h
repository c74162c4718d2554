/*
 * The version of the program, as results, evidence and the manual state it, and the date of the manual.
 */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define HOLDFAST_VERSION "0.1.0"
#define HOLDFAST_DATE "November 23, 2026"

#endif
