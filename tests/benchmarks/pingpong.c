/* Copyright: (c) 2026, the holdfast.supervision authors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a round trip over a unix socket costs without any work: two processes, 128 bytes there and back.
 * Prints median and 99th percentile in microseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    int ends[2], rounds = argc > 1 ? atoi(argv[1]) : 1000;
    char message[128] = {0};
    struct timespec from, to;
    double *taken = calloc(rounds, sizeof *taken);

    if (taken == NULL || rounds < 1 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 1;
    if (fork() == 0) {
        close(ends[0]);
        while (read(ends[1], message, sizeof message) > 0)
            if (write(ends[1], message, sizeof message) < 0)
                break;
        return 0;
    }
    close(ends[1]);
    for (int number = 0; number < rounds; number++) {
        clock_gettime(CLOCK_MONOTONIC, &from);
        if (write(ends[0], message, sizeof message) < 0 || read(ends[0], message, sizeof message) < 0)
            return 1;
        clock_gettime(CLOCK_MONOTONIC, &to);
        taken[number] = (to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3;
    }
    qsort(taken, rounds, sizeof *taken, ascending);
    printf("%.2f %.2f\n", taken[rounds / 2], taken[rounds * 99L / 100]);
    return 0;
}
