/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PARTS_H
#define PARTS_H

/* Fill a hash table with names, and return the sum of all hashes. */
unsigned long fill_table(void);

/* Append records to a file, each written through to the disk; 0: all went well. */
int append_records(const char *path, unsigned long seed);

#endif
