/* The limit of one system call per delivery: a bare loop of send().
 *
 * usage: send_loop RING FRAME_BYTES
 *
 * RING is a file of frames of one size. Two ports are opened on loopback and printed: whoever
 * connects to the first is a receiver; each byte on a connection to the second sends the next
 * frame of the ring to every receiver. There is no protocol, no parser, no bookkeeping: what a
 * server does on top of this costs time, and what it saves are system calls.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVERS_MAX = 1 << 20, BACKLOG = 4096 };

static int receivers[RECEIVERS_MAX];
static int receiver_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on_loopback(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        die("listen");
    *port = ntohs(address.sin_port);
    return fd;
}

static int accept_one(int listener) {
    int yes = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); /* as asyncio does */
    else if (errno != EAGAIN)
        die("accept");
    return fd;
}

static void accept_receivers(int listener) {
    for (int fd; (fd = accept_one(listener)) >= 0;) {
        if (receiver_count == RECEIVERS_MAX)
            die("too many receivers");
        receivers[receiver_count++] = fd;
    }
}

static void send_to_all(const char *frame, size_t frame_bytes) {
    for (int i = 0; i < receiver_count; i++)
        if (send(receivers[i], frame, frame_bytes, MSG_NOSIGNAL) != (ssize_t)frame_bytes)
            die("send");
}

static char *read_ring(const char *path, size_t *ring_bytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        die(path);
    *ring_bytes = (size_t)ftell(file);
    rewind(file);
    char *ring = malloc(*ring_bytes);
    if (!ring || fread(ring, 1, *ring_bytes, file) != *ring_bytes)
        die(path);
    fclose(file);
    return ring;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: send_loop RING FRAME_BYTES\n");
        return 2;
    }
    size_t ring_bytes, position = 0, frame_bytes = strtoul(argv[2], NULL, 10);
    const char *ring = read_ring(argv[1], &ring_bytes);
    if (frame_bytes == 0 || ring_bytes == 0 || ring_bytes % frame_bytes) {
        fprintf(stderr, "the ring is not made of frames of %zu bytes\n", frame_bytes);
        return 2;
    }
    int receiver_port, control_port;
    int receiver_listener = listen_on_loopback(&receiver_port);
    int control_listener = listen_on_loopback(&control_port);
    printf("%d %d\n", receiver_port, control_port);
    fflush(stdout);

    enum { RECEIVERS, CONTROLS, CONTROL };
    struct pollfd watched[] = {
        {receiver_listener, POLLIN, 0}, {control_listener, POLLIN, 0}, {-1, POLLIN, 0}};
    char triggers[4096];
    while (poll(watched, 3, -1) > 0) {
        /* Always first: a receiver that connected before the trigger must get the frame. */
        accept_receivers(receiver_listener);
        if (watched[CONTROLS].revents)
            watched[CONTROL].fd = accept_one(control_listener);
        if (!watched[CONTROL].revents)
            continue;
        ssize_t count = recv(watched[CONTROL].fd, triggers, sizeof triggers, 0);
        if (count <= 0)
            return 0; /* the generator has finished */
        for (ssize_t i = 0; i < count; i++) {
            send_to_all(ring + position, frame_bytes);
            position = (position + frame_bytes) % ring_bytes;
        }
    }
    return 0;
}
