/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * drive FILE: starts a program for each line of standard input, and prints how long it took, in ns
 * of guest time, behind the line. A line: NAME PROGRAM LOOPS WAIT_US PADDING_BYTES. FILE is what the
 * program appends to; it goes away in between.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PADDING_MAX = 4096 };

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long run(char *program, char *file, char *loops, char *padding)
{
    char *arguments[] = { program, file, loops, NULL };
    char *environment[] = { padding, NULL };
    pid_t pid;
    int status;
    long long start_ns = now_ns();
    if (posix_spawn(&pid, program, NULL, NULL, arguments, environment) ||
        waitpid(pid, &status, 0) != pid || status) {
        fprintf(stderr, "drive: %s failed\n", program);
        exit(1);
    }
    return now_ns() - start_ns;
}

int main(int argc, char **argv)
{
    static char padding[PADDING_MAX + 3];
    char name[64], program[128], loops[32];
    long wait_us;
    int padding_bytes;
    if (argc != 2)
        return 2;
    while (scanf("%63s %127s %31s %ld %d", name, program, loops, &wait_us, &padding_bytes) == 5) {
        if (padding_bytes < 0 || padding_bytes > PADDING_MAX)
            return 2;
        unlink(argv[1]);
        struct timespec wait = { wait_us / 1000000, wait_us % 1000000 * 1000 };
        nanosleep(&wait, NULL);
        snprintf(padding, sizeof padding, "P=%0*d", padding_bytes, 0);
        printf("%s %lld\n", name, run(program, argv[1], loops, padding));
    }
    return 0;
}
