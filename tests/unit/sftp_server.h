/*
 * A small SFTP server on standard input and output, which does one thing wrong. sshd runs it as its subsystem: the test
 * program calls itself. What it does wrong stands in a file, which it removes when it has done it once.
 */
#ifndef TESTS_UNIT_SFTP_SERVER_H
#define TESTS_UNIT_SFTP_SERVER_H

enum wrong {
	WRONG_NOTHING,
	WRONG_STATUS,       /* this status instead of doing it */
	WRONG_STATUS_AFTER, /* this status although it was done */
	WRONG_LENGTH,       /* a packet that says it is this long */
	WRONG_TEXT,         /* a greeting of a shell */
	WRONG_ID,           /* an answer to another request */
	WRONG_TWICE,        /* the answer, twice */
	WRONG_TYPE,         /* an answer of this type, and nothing in it */
	WRONG_SILENT,       /* no answer */
	WRONG_EXIT,         /* the end, with this status, instead of doing it */
	WRONG_EXIT_AFTER,   /* the end, with this status, when it was done */
	WRONG_HANDLE,       /* a handle of this many bytes */
	WRONG_DATA,         /* this many bytes of data, however many were asked for */
	WRONG_NAMES,        /* one of the lists of evil names */
	WRONG_COUNT,        /* says that this many names come, and sends one */
	WRONG_SIZE,         /* attributes with this size */
	/* Odd, but right: for as long as the file is there. */
	ODD_PLAIN,    /* no extensions, no directories opened as files */
	ODD_REVERSED, /* answers to reads in reverse, four at a time */
	ODD_SHORT,    /* reads give at most this many bytes */
	ODD_BARE,     /* names come without attributes */
	ODD_REPLACES, /* rename replaces what is there */
	ODD_FLOOD,    /* a directory that never ends: 1 the same name, 2 none at all, 3 names of others, 4 dots */
	ODD_VERSION,  /* says that it speaks this version */
};
/* Write the file in dir: do `wrong` at the nth (from 1) request of the type since the connection began. */
void wrong_at(const char *dir, enum wrong wrong, unsigned type, unsigned nth, unsigned long long arg);
/* Whether it was done. */
int wrong_done(const char *dir);
/* The server; does not return. */
_Noreturn void sftp_serve(const char *dir);

#endif
