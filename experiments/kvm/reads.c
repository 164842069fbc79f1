/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * reads FILE COUNT [busy]: reads 4 KiB COUNT times, past the page cache, and prints how long each
 * read took, in ns by the guest's own clock. With "busy" another process computes meanwhile, which
 * has the CPU whenever nobody else wants it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 4096, SPAN = 256 };

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static pid_t compute(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct sched_param none = {0};
        sched_setscheduler(0, SCHED_IDLE, &none);
        for (volatile uint64_t i = 0;; i++) {
        }
    }
    return child;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr, "usage: reads FILE COUNT [busy]\n");
        return 2;
    }
    long reads = strtol(arguments[2], NULL, 10);
    int64_t *took_ns = calloc((size_t)reads, sizeof *took_ns);
    void *block = aligned_alloc(BYTES, BYTES);
    int file = open(arguments[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (file < 0 || !took_ns || !block) {
        perror(arguments[1]);
        return 1;
    }
    pid_t child = count > 3 && strcmp(arguments[3], "busy") == 0 ? compute() : 0;
    if (child < 0) {
        perror("fork");
        return 1;
    }
    for (long i = 0; i < reads; i++) {
        int64_t start_ns = now_ns();
        if (pread(file, block, BYTES, (off_t)(i % SPAN) * BYTES) != BYTES) {
            perror(arguments[1]);
            return 1;
        }
        took_ns[i] = now_ns() - start_ns;
    }
    if (child) {
        kill(child, SIGKILL);
    }
    for (long i = 0; i < reads; i++) {
        printf("%lld\n", (long long)took_ns[i]);
    }
    return 0;
}
