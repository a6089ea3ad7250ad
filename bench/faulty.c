/* An upstream that does what it is told, and what it is told is mostly wrong.
 *
 * usage: faulty PORT [LISTENERS [NUMBERS]]. It listens on so many ports from PORT on, at every address of the loopback. Each
 * letter on its standard input changes what it does from then on; at the end of the input it ends.
 *
 *   w  well: 200 and 1 KiB, after a service time of 2 ms; what was stalled by then is closed
 *   c  closed: nothing listens, and connections are closed
 *   s  stall: requests are read and never answered
 *   r  reset: requests are read, then the connection is reset
 *   5  503, at once
 *   l  slow: answers take 500 ms
 *   i  lies: as 5, but /health is well
 *
 * Of each POST that was read whole, the number in its `x-number` is appended to the file NUMBERS: what was done, and what
 * was done twice. One thread, epoll.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_MAX = 8192, LISTENERS_MAX = 1024, QUICK_US = 2000, SLOW_US = 500000 };
enum { WELL = 'w', CLOSED = 'c', STALL = 's', RESET = 'r', UNAVAILABLE = '5', SLOW = 'l', LIES = 'i' };

struct peer {
    int fd;
    size_t held;
    bool stalled, closes;
    uint64_t due;                 /* when the answer goes out; 0: there is none to come */
    struct peer *before, *after;  /* all of them */
    char bytes[];
};

static struct peer all;           /* the ring of connections */
static int poller, listeners[LISTENERS_MAX], listener_count = 1, port, numbers = -1, mode = WELL;
static bool is_open;
static char good[2048], bad[512];
static size_t good_length, bad_length;
static uint64_t next_due;         /* the earliest; UINT64_MAX: none */

static void die(const char *what) { fprintf(stderr, "faulty: %s: %s\n", what, strerror(errno)); exit(1); }

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void open_listeners(void) {
    for (int i = 0; i < listener_count; i++) {
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(port + i)), .sin_addr.s_addr = htonl(INADDR_ANY)};
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        /* Every address of the loopback, and none beside it. */
        if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) < 0) here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0 || listen(fd, 4096) < 0) die("listen");
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 1 | 1};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        listeners[i] = fd;
    }
    is_open = true;
}

static void forget(struct peer *peer, bool resets) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (resets) setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(peer->fd);
    peer->fd = -1;
    peer->before->after = peer->after;
    peer->after->before = peer->before;
    peer->due = 0;
}

/* Connections that were closed are freed once no event can name them. */
static struct peer *graves[4096];
static int grave_count;

static void bury(struct peer *peer, bool resets) {
    forget(peer, resets);
    if (grave_count < 4096) graves[grave_count++] = peer;
}

static bool answer(struct peer *peer, bool well) {
    const char *bytes = well ? good : bad;
    size_t length = well ? good_length : bad_length;
    return send(peer->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length && !peer->closes;
}

/* A whole request is here: false where its connection ends. */
static bool serve(struct peer *peer, const char *head, size_t length) {
    const char *number = memmem(head, length, "x-number: ", 10);
    peer->closes = memmem(head, length, "onnection: close", 16) != NULL;
    if (numbers >= 0 && number && !strncmp(head, "POST ", 5)) {
        uint32_t value = (uint32_t)strtoul(number + 10, NULL, 10);
        if (write(numbers, &value, sizeof value) != sizeof value) die("the numbers");
    }
    bool is_probe = length > 12 && !memcmp(head, "GET /health ", 12);
    switch (mode) {
    case RESET: bury(peer, true); return true;
    case STALL: peer->stalled = true; return true;
    case UNAVAILABLE: return answer(peer, false);
    case LIES: if (!is_probe) return answer(peer, false); break;
    }
    if (is_probe && mode != SLOW) return answer(peer, true);
    peer->due = now_us() + (mode == SLOW ? SLOW_US : QUICK_US);
    if (peer->due < next_due) next_due = peer->due;
    return true;
}

/* Looks for a whole request in what is held: false where its connection ends. */
static bool look(struct peer *peer) {
    char *end = memmem(peer->bytes, peer->held, "\r\n\r\n", 4);
    if (!end) return peer->held < READ_MAX;
    size_t head = (size_t)(end - peer->bytes) + 4, body = 0;
    for (char *line = memchr(peer->bytes, '\n', head); line && line + 1 < end; line = memchr(line + 1, '\n', (size_t)(end - line - 1)))
        if (!strncasecmp(line + 1, "content-length:", 15)) body = strtoul(line + 16, NULL, 10);
    if (head + body > READ_MAX) return false;
    if (peer->held < head + body) return true;
    peer->held = 0; /* clients of this bench do not pipeline */
    return serve(peer, peer->bytes, head);
}

static bool readable(struct peer *peer) {
    ssize_t n = recv(peer->fd, peer->bytes + peer->held, READ_MAX - peer->held, 0);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    peer->held += (size_t)n;
    return look(peer);
}

static void change(int to) {
    if (to == CLOSED) {
        for (int i = 0; i < listener_count && is_open; i++) close(listeners[i]);
        is_open = false;
        while (all.after != &all) bury(all.after, false);
    } else if (!is_open) {
        open_listeners();
    }
    for (struct peer *peer = all.after, *next; peer != &all; peer = next) {
        next = peer->after;
        if (to == WELL && peer->stalled) bury(peer, false);
    }
    mode = to;
}

static void send_what_is_due(void) {
    uint64_t now = now_us();
    if (now < next_due) return;
    next_due = UINT64_MAX;
    for (struct peer *peer = all.after, *next; peer != &all; peer = next) {
        next = peer->after;
        if (!peer->due) continue;
        if (peer->due > now) { if (peer->due < next_due) next_due = peer->due; continue; }
        peer->due = 0;
        if (!answer(peer, true)) bury(peer, false);
    }
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *peer = malloc(sizeof *peer + READ_MAX);
        if (!peer) die("memory");
        *peer = (struct peer){.fd = fd, .before = all.before, .after = &all};
        all.before->after = peer;
        all.before = peer;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **words) {
    if (count < 2 || count > 4) { fprintf(stderr, "usage: faulty PORT [LISTENERS [NUMBERS]]\n"); return 2; }
    port = atoi(words[1]);
    if (count > 2) listener_count = atoi(words[2]);
    if (listener_count < 1 || listener_count > LISTENERS_MAX) { fprintf(stderr, "faulty: 1 to %d listeners\n", LISTENERS_MAX); return 2; }
    if (count > 3 && (numbers = open(words[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0) die(words[3]);
    good_length = (size_t)sprintf(good, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n");
    memset(good + good_length, 'x', 1024);
    good_length += 1024;
    bad_length = (size_t)sprintf(bad, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
    all.before = all.after = &all;
    next_due = UINT64_MAX;
    poller = epoll_create1(EPOLL_CLOEXEC);
    open_listeners();
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        uint64_t now = now_us(), left = next_due == UINT64_MAX ? 1000000 : next_due > now ? next_due - now : 0;
        struct timespec patience = {.tv_sec = (time_t)(left / 1000000), .tv_nsec = (long)(left % 1000000) * 1000};
        int n = epoll_pwait2(poller, events, 256, &patience, NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                char letters[64];
                ssize_t got = read(0, letters, sizeof letters);
                if (got <= 0) return 0;
                for (ssize_t at = 0; at < got; at++) change(letters[at]);
            } else if (events[i].data.u64 & 1) {
                if (is_open) welcome(listeners[events[i].data.u64 >> 1]);
            } else {
                struct peer *peer = events[i].data.ptr;
                if (peer->fd >= 0 && !readable(peer) && peer->fd >= 0) bury(peer, false);
            }
        }
        send_what_is_due();
        while (grave_count) free(graves[--grave_count]);
    }
}
