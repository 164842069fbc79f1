/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether the cycle counters of all CPUs agree: a thread on each hands the counter that it reads to
 * the thread on the next, which sleeps until then and reads its own.
 *
 * warp ROUNDS: prints how many CPUs there are, how often a thread was handed a counter, and how
 * often its own was behind that.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <x86intrin.h>

enum { CPUS_MAX = 16 };

static int pipes[CPUS_MAX][2]; /* each CPU reads its own */
static long cpus, rounds;
static long handed[CPUS_MAX], behind[CPUS_MAX];

static void require(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(1);
    }
}

/* Not before what is above it, nor behind what is below. */
static uint64_t read_counter(void)
{
    _mm_lfence();
    uint64_t counter = __rdtsc();
    _mm_lfence();
    return counter;
}

static void hand_on(long cpu)
{
    uint64_t counter = read_counter();
    require(sched_getcpu() == (int)cpu, "on another CPU");
    require(write(pipes[(cpu + 1) % cpus][1], &counter, sizeof counter) == sizeof counter, "write");
}

static void *take_turns(void *number)
{
    long cpu = (long)number;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET((size_t)cpu, &own);
    require(sched_setaffinity(0, sizeof own, &own) == 0, "sched_setaffinity");
    if (cpu == 0) {
        hand_on(cpu);
    }
    for (long round = 0; round < rounds; round++) {
        uint64_t counter;
        require(read(pipes[cpu][0], &counter, sizeof counter) == sizeof counter, "read");
        handed[cpu]++;
        behind[cpu] += read_counter() < counter;
        if (cpu > 0 || round < rounds - 1) {
            hand_on(cpu);
        }
    }
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[CPUS_MAX];
    long turns = 0, wrong = 0;
    rounds = count > 1 ? strtol(arguments[1], NULL, 10) : 100;
    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    require(cpus <= CPUS_MAX, "too many CPUs");
    for (long cpu = 0; cpu < cpus; cpu++) {
        require(pipe(pipes[cpu]) == 0, "pipe");
    }
    for (long cpu = 0; cpu < cpus; cpu++) {
        require(pthread_create(&threads[cpu], NULL, take_turns, (void *)cpu) == 0, "thread");
    }
    for (long cpu = 0; cpu < cpus; cpu++) {
        pthread_join(threads[cpu], NULL);
        turns += handed[cpu];
        wrong += behind[cpu];
    }
    printf("%ld CPUs, %ld turns, %ld behind\n", cpus, turns, wrong);
    return wrong > 0;
}
