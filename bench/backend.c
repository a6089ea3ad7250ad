/* The benchmark's upstream: answers by path from responses made once, keeps connections, and counts what it was sent.
 *
 * /64k, /1m: bodies of that size by length; /chunked: 16 KiB in eight chunks; /verify: that it is ada, with an empty body, as a
 * service for forward-auth says; anything else: 1 KiB. Request bodies, by
 * length or chunked, are read and counted. /counts answers what was counted: requests, those with an X-Request-ID, and
 * body bytes. One thread, epoll.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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
#include <unistd.h>

enum { HELD_MAX = 65536, READ_MAX = 262144 };
enum { IN_HEAD, IN_LENGTH, IN_SIZE, IN_PIECE, IN_PIECE_END, IN_TRAILER };

struct answer { char *bytes; size_t length; };

struct peer {
    int fd, state;
    bool closes, waiting;
    uint64_t left;
    size_t line, held, sent;
    const struct answer *answer;
    struct answer own;         /* an answer made for this one request */
    char *rest;                /* bytes that came before the answer before them was sent */
};

static struct answer small, medium, large, chunked;
static char VERIFIED[] = "HTTP/1.1 200 OK\r\nX-User: ada\r\nX-Roles: admin,user\r\nContent-Length: 0\r\n\r\n";
static const struct answer verified = {VERIFIED, sizeof VERIFIED - 1};
static uint64_t requests, with_id, body_bytes;
static int poller;
static char buffer[READ_MAX];

static void die(const char *what) { fprintf(stderr, "backend: %s: %s\n", what, strerror(errno)); exit(1); }

/* Header lines such as a real service sends. */
static const char LINES[] =
    "Server: backend/1.0\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json; charset=utf-8\r\n"
    "Cache-Control: private, max-age=60\r\nETag: \"5f3a9c1e7b2d4\"\r\nVary: Accept-Encoding\r\n"
    "Last-Modified: Mon, 23 Nov 2026 08:12:31 GMT\r\nX-Powered-By: benchmark\r\n";

static struct answer by_length(size_t size) {
    struct answer made = {malloc(size + 1024), 0};
    if (!made.bytes) die("memory");
    made.length = (size_t)sprintf(made.bytes, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", LINES, size);
    for (size_t i = 0; i < size; i++) made.bytes[made.length + i] = (char)('a' + i % 26);
    made.length += size;
    return made;
}

static struct answer by_chunks(size_t pieces, size_t size) {
    struct answer made = {malloc(pieces * (size + 32) + 1024), 0};
    if (!made.bytes) die("memory");
    made.length = (size_t)sprintf(made.bytes, "HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n", LINES);
    for (size_t piece = 0; piece < pieces; piece++) {
        made.length += (size_t)sprintf(made.bytes + made.length, "%zx\r\n", size);
        memset(made.bytes + made.length, 'a' + (int)(piece % 26), size);
        made.length += size;
        made.length += (size_t)sprintf(made.bytes + made.length, "\r\n");
    }
    made.length += (size_t)sprintf(made.bytes + made.length, "0\r\n\r\n");
    return made;
}

static void want(struct peer *peer, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
}

static void forget(struct peer *peer) {
    close(peer->fd);
    free(peer->own.bytes);
    free(peer->rest);
    free(peer);
}

/* Sends the answer; true once all of it is sent. */
static bool push(struct peer *peer) {
    while (peer->sent < peer->answer->length) {
        ssize_t n = send(peer->fd, peer->answer->bytes + peer->sent, peer->answer->length - peer->sent, MSG_NOSIGNAL);
        if (n < 0) return false;
        peer->sent += (size_t)n;
    }
    return true;
}

static const struct answer *counts(struct peer *peer) {
    char body[256];
    int length = sprintf(body, "{\"requests\": %llu, \"with_id\": %llu, \"body_bytes\": %llu}", (unsigned long long)requests,
                         (unsigned long long)with_id, (unsigned long long)body_bytes);
    free(peer->own.bytes);
    peer->own.bytes = malloc(512);
    if (!peer->own.bytes) die("memory");
    peer->own.length = (size_t)sprintf(peer->own.bytes, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, body);
    return &peer->own;
}

/* Reads a whole head and says what follows it. */
static void understand(struct peer *peer, const char *head, size_t length) {
    const char *stop = head + length, *path = memchr(head, ' ', length);
    const char *line = memchr(head, '\n', length);
    path = path && path < line ? path + 1 : head;
    size_t path_length = (size_t)((const char *)memchr(path, path == head ? '\n' : ' ', (size_t)(stop - path)) - path);
    bool is_counts = false;
    peer->answer = &small;
    if (path_length == 4 && !memcmp(path, "/64k", 4)) peer->answer = &medium;
    else if (path_length == 3 && !memcmp(path, "/1m", 3)) peer->answer = &large;
    else if (path_length == 8 && !memcmp(path, "/chunked", 8)) peer->answer = &chunked;
    else if (path_length == 7 && !memcmp(path, "/verify", 7)) peer->answer = &verified;
    else if (path_length == 7 && !memcmp(path, "/counts", 7)) is_counts = true;
    peer->state = IN_HEAD;
    peer->left = 0;
    bool by_chunks = false;
    for (line++; line < stop && *line != '\r'; line++) {
        switch (*line | 0x20) {
        case 'c':
            if (!strncasecmp(line, "content-length:", 15)) peer->left = strtoull(line + 15, NULL, 10);
            else if (!strncasecmp(line, "connection: close", 17)) peer->closes = true;
            break;
        case 't':
            if (!strncasecmp(line, "transfer-encoding:", 18)) by_chunks = true;
            break;
        case 'x':
            if (!strncasecmp(line, "x-request-id:", 13)) with_id++;
            break;
        }
        line = memchr(line, '\n', (size_t)(stop - line));
    }
    if (by_chunks) { peer->state = IN_SIZE; peer->left = 0; }
    else if (peer->left) peer->state = IN_LENGTH;
    if (is_counts) peer->answer = counts(peer);
    else requests++;
}

/* Takes bytes of the request; true once it is whole. `used` is how far it came. */
static bool take(struct peer *peer, const char *at, size_t length, size_t *used) {
    const char *begin = at, *stop = at + length;
    bool whole = false;
    while (at < stop && !whole) {
        size_t there = (size_t)(stop - at);
        switch (peer->state) {
        case IN_HEAD: {
            char *end = memmem(at, there, "\r\n\r\n", 4);
            if (!end) { *used = (size_t)(at - begin); return false; }
            size_t head = (size_t)(end - at) + 4;
            understand(peer, at, head);
            at += head;
            whole = peer->state == IN_HEAD;
            break;
        }
        case IN_LENGTH:
            if (there > peer->left) there = peer->left;
            peer->left -= there;
            body_bytes += there;
            at += there;
            whole = peer->left == 0;
            break;
        case IN_SIZE: {
            char c = *at++;
            int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
            if (digit >= 0) peer->left = peer->left * 16 + (uint64_t)digit;
            else if (c == '\n') { peer->state = peer->left ? IN_PIECE : IN_TRAILER; peer->line = 0; }
            break;
        }
        case IN_PIECE:
            if (there > peer->left) there = peer->left;
            peer->left -= there;
            body_bytes += there;
            at += there;
            if (peer->left == 0) peer->state = IN_PIECE_END;
            break;
        case IN_PIECE_END:
            if (*at++ == '\n') { peer->state = IN_SIZE; peer->left = 0; }
            break;
        default: {
            char c = *at++;
            if (c == '\n') { whole = peer->line == 0; peer->line = 0; }
            else if (c != '\r') peer->line++;
        }
        }
    }
    if (whole) peer->state = IN_HEAD;
    *used = (size_t)(at - begin);
    return whole;
}

/* Works through bytes; false where the peer is gone. */
static bool work(struct peer *peer, const char *at, size_t length) {
    while (length) {
        size_t used = 0;
        bool whole = take(peer, at, length, &used);
        at += used;
        length -= used;
        if (!whole) break;
        peer->sent = 0;
        if (!push(peer)) {
            if (errno != EAGAIN) return false;
            peer->waiting = true;
            want(peer, EPOLLOUT);
            break;
        }
        if (peer->closes) return false;
    }
    if (length > HELD_MAX) return false;
    if (length && !peer->rest) peer->rest = malloc(HELD_MAX + READ_MAX);
    if (length) memmove(peer->rest, at, length);
    peer->held = length;
    return true;
}

static bool readable(struct peer *peer) {
    char *at = buffer;
    if (peer->held) at = peer->rest;
    ssize_t n = recv(peer->fd, at + peer->held, READ_MAX, 0);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    return work(peer, at, peer->held + (size_t)n);
}

static bool writable(struct peer *peer) {
    if (!push(peer)) return errno == EAGAIN;
    if (peer->closes) return false;
    peer->waiting = false;
    want(peer, EPOLLIN);
    return peer->held == 0 || work(peer, peer->rest, peer->held);
}

int main(int count, char **words) {
    if (count != 2) { fprintf(stderr, "usage: backend PORT\n"); return 2; }
    small = by_length(1024);
    medium = by_length(65536);
    large = by_length(1048576);
    chunked = by_chunks(8, 2048);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    // Every address of the loopback, so that one program can be many endpoints; and none beside it.
    if (setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0) here.sin_addr.s_addr = htonl(INADDR_ANY);
    // Several may share the port, each on a core of its own.
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 4096) < 0) die("listen");
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            if (!peer) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (!(peer = calloc(1, sizeof *peer))) die("memory");
                    peer->fd = fd;
                    event = (struct epoll_event){.events = EPOLLIN, .data.ptr = peer};
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            bool alive = peer->waiting ? writable(peer) : readable(peer);
            if (!alive) forget(peer);
        }
    }
}
