/* The benchmark's client: sends the same few requests over and over, checks every answer, and tells how long they took.
 *
 * Closed loop (each connection asks again as soon as it is answered) or, with --rate, open loop: request k is due at
 * k / rate whatever became of those before it, and its time counts from when it was due, so that a server that stalls
 * cannot hide the requests it kept waiting. An answer counts only with a 2xx status, the expected number of body bytes,
 * and the wanted header. One thread; prints one JSON object.
 *
 * With --each FILE every request leaves a record there, in the order of their ends: when it was due, how long it took, its
 * answer's status (0: none), and which message it was. A message that has `x-number: 0000000000` is then told apart from all
 * others: the zeros become the request's number.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, READ_MAX = 262144, SUB_BITS = 7, SUB = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS) * SUB };
enum { STAMPED_MAX = 4096 };
enum { IN_HEAD, IN_LENGTH, IN_SIZE, IN_PIECE, IN_PIECE_END, IN_TRAILER, UNTIL_END };

struct client {
    int fd;
    bool busy, closes, fresh;
    uint64_t since;            /* when the request was due */
    const char *request;
    size_t request_length, sent;
    int state;
    uint64_t left, body;       /* bytes of this part still to come; bytes of the body so far */
    size_t line;               /* bytes of the trailer line so far */
    bool size_digits;
    size_t held;               /* bytes of an incomplete head */
    int status;
    uint16_t message;
    char head[HEAD_MAX];
    char stamped[STAMPED_MAX]; /* the request, where it has a number */
};

struct record { uint64_t due_us; uint32_t took_us; uint16_t status, message; };
static const char NUMBER[] = "x-number: 0000000000";

static struct { int port, connections, sources, hold; double seconds, rate; uint64_t requests, expect; bool close; const char *want; FILE *each; } how = {
    .connections = 64, .sources = 0, .seconds = 3,
};
static struct { char *bytes; size_t length; const char *number; } *messages;
static size_t message_count, message_next;
static struct client *clients;
static int *idle, idle_count, poller;
static uint64_t histogram[BUCKETS], slowest;
static uint64_t begun, issued, answered, outstanding, bytes_in, body_bytes, opened, reopened;
static uint64_t bad_status, bad_length, bad_head, bad_header, cut_short;
static uint64_t source_next;
static char buffer[READ_MAX];
static volatile sig_atomic_t told_to_end;

static void end(int signal) { (void)signal; told_to_end = 1; }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) { fprintf(stderr, "load: %s: %s\n", what, strerror(errno)); exit(1); }

/* A histogram of 128 steps for each doubling: under one percent off. */
static unsigned bucket_of(uint64_t value) {
    if (value < SUB) return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * SUB + (unsigned)((value >> shift) - SUB);
}
static uint64_t value_of(unsigned bucket) {
    if (bucket < SUB) return bucket;
    unsigned shift = bucket / SUB - 1;
    return ((uint64_t)(bucket % SUB + SUB) << shift) + ((1ull << shift) >> 1);
}
static double quantile(double share) {
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) total += histogram[i];
    uint64_t rank = (uint64_t)(share * (double)total);
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > rank) return (double)value_of(i) / 1000.0;
    }
    return (double)slowest / 1000.0;
}

static void read_messages(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    uint32_t length;
    while (fread(&length, sizeof length, 1, file) == 1) {
        messages = realloc(messages, (message_count + 1) * sizeof *messages);
        char *bytes = malloc(length);
        if (!messages || !bytes || fread(bytes, 1, length, file) != length) die("the requests");
        messages[message_count].bytes = bytes;
        messages[message_count].number = memmem(bytes, length, NUMBER, sizeof NUMBER - 1);
        if (messages[message_count].number && length > STAMPED_MAX) { fprintf(stderr, "load: a numbered request is too long\n"); exit(1); }
        messages[message_count++].length = length;
    }
    fclose(file);
    if (!message_count) { fprintf(stderr, "load: no requests in %s\n", path); exit(1); }
}

static void dial(struct client *client) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (how.sources) {
        uint32_t number = (uint32_t)(source_next++ % (uint64_t)how.sources);
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001u + number)};
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)how.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
    client->fd = fd;
    client->fresh = true;
    opened++;
}

static void want(struct client *client, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
}

/* Sends what is left of the request; the rest when the socket takes more. */
static void push(struct client *client) {
    bool waited = client->sent > 0;
    while (client->sent < client->request_length) {
        ssize_t n = send(client->fd, client->request + client->sent, client->request_length - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) { if (!client->sent) client->sent = 0; want(client, EPOLLIN | EPOLLOUT); return; }
            return; /* reset: the read says so */
        }
        client->sent += (size_t)n;
    }
    if (waited) want(client, EPOLLIN);
}

static void issue(struct client *client, uint64_t due) {
    if (client->fd < 0) dial(client);
    client->busy = true;
    client->closes = false;
    client->since = due;
    client->request = messages[message_next].bytes;
    client->request_length = messages[message_next].length;
    client->message = (uint16_t)message_next;
    client->status = 0;
    if (messages[message_next].number) {
        memcpy(client->stamped, client->request, client->request_length);
        char *digits = client->stamped + (messages[message_next].number - client->request) + sizeof NUMBER - 1;
        for (uint64_t left = issued, at = 1; at <= 10; at++, left /= 10) digits[-(long)at] = (char)('0' + left % 10);
        client->request = client->stamped;
    }
    message_next = (message_next + 1) % message_count;
    client->sent = 0;
    client->state = IN_HEAD;
    client->held = 0;
    client->body = 0;
    issued++;
    outstanding++;
    push(client);
}

static void hang_up(struct client *client) {
    close(client->fd);
    client->fd = -1;
}

static void leave_record(const struct client *client, bool whole, uint64_t took) {
    struct record record = {.due_us = (client->since - begun) / 1000, .took_us = (uint32_t)(took / 1000), .message = client->message};
    if (whole) record.status = (uint16_t)client->status;
    if (how.each && fwrite(&record, sizeof record, 1, how.each) != 1) die("the records");
}

/* The request is over, well or badly. */
static void finish(struct client *client, bool whole) {
    uint64_t took = now_ns() - client->since;
    leave_record(client, whole, took);
    client->busy = false;
    client->fresh = false;
    outstanding--;
    if (whole) {
        if (client->body != how.expect) bad_length++;
        answered++;
        body_bytes += client->body;
        histogram[bucket_of(took)]++;
        if (took > slowest) slowest = took;
    }
    if (!whole || client->closes || how.close) hang_up(client);
    /* A client that is to be held asks once and stays. */
    if (!how.hold) idle[idle_count++] = (int)(client - clients);
}

static bool named(const char *line, const char *name, size_t length) {
    return strncasecmp(line, name, length) == 0;
}

/* Reads a whole head, its empty line included. */
static void understand(struct client *client, const char *head, size_t length) {
    int status = length > 12 ? atoi(head + 9) : 0;
    if (status >= 100 && status < 200) { client->state = IN_HEAD; return; }
    client->status = status;
    if (status < 200 || status > 299) bad_status++;
    bool chunked = false, wanted = how.want == NULL;
    uint64_t size = UINT64_MAX;
    size_t want_length = how.want ? strlen(how.want) : 0;
    const char *line = memchr(head, '\n', length), *stop = head + length;
    for (line++; line < stop && *line != '\r'; line++) {
        switch (*line | 0x20) {
        case 'c':
            if (named(line, "content-length:", 15)) size = strtoull(line + 15, NULL, 10);
            else if (named(line, "connection:", 11) && strncasecmp(line + 11 + (line[11] == ' '), "close", 5) == 0) client->closes = true;
            break;
        case 't':
            if (named(line, "transfer-encoding:", 18)) chunked = true;
            break;
        }
        if (!wanted && named(line, how.want, want_length) && line[want_length] == ':') wanted = true;
        line = memchr(line, '\n', (size_t)(stop - line));
        if (!line) break;
    }
    if (!wanted) bad_header++;
    if (chunked) { client->state = IN_SIZE; client->left = 0; client->size_digits = false; }
    else if (size != UINT64_MAX) { client->state = IN_LENGTH; client->left = size; }
    else { client->state = UNTIL_END; client->closes = true; }
}

/* Takes bytes of the answer; true once it is whole. */
static bool take(struct client *client, const char *at, size_t length) {
    const char *stop = at + length;
    while (at < stop || (client->state == IN_LENGTH && client->left == 0)) {
        size_t there = (size_t)(stop - at);
        switch (client->state) {
        case IN_HEAD: {
            const char *head = at;
            size_t known = there, before = client->held;
            if (before) {
                size_t room = HEAD_MAX - before;
                size_t more = there < room ? there : room;
                memcpy(client->head + before, at, more);
                head = client->head;
                known = before + more;
            }
            char *end = memmem(head, known, "\r\n\r\n", 4);
            if (!end) {
                if (known >= HEAD_MAX) { bad_head++; client->closes = true; return true; }
                if (!before) memcpy(client->head, at, there);
                client->held = known;
                return false;
            }
            size_t whole = (size_t)(end - head) + 4;
            at += whole - before;
            client->held = 0;
            understand(client, head, whole);
            break;
        }
        case IN_LENGTH:
            if (there > client->left) { bad_length++; client->closes = true; there = client->left; }
            client->left -= there;
            client->body += there;
            at += there;
            if (client->left == 0) return true;
            break;
        case IN_SIZE: {
            char c = *at++;
            int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
            if (digit >= 0) { client->left = client->left * 16 + (uint64_t)digit; client->size_digits = true; }
            else if (c == '\n') {
                if (!client->size_digits) { bad_head++; client->closes = true; return true; }
                client->state = client->left ? IN_PIECE : IN_TRAILER;
                client->line = 0;
            }
            break;
        }
        case IN_PIECE:
            if (there > client->left) there = client->left;
            client->left -= there;
            client->body += there;
            at += there;
            if (client->left == 0) client->state = IN_PIECE_END;
            break;
        case IN_PIECE_END:
            if (*at++ == '\n') { client->state = IN_SIZE; client->left = 0; client->size_digits = false; }
            break;
        case IN_TRAILER: {
            char c = *at++;
            if (c == '\n') { if (client->line == 0) return true; client->line = 0; }
            else if (c != '\r') client->line++;
            break;
        }
        default:
            client->body += there;
            at = stop;
        }
    }
    return false;
}

static void readable(struct client *client) {
    ssize_t n = recv(client->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (!client->busy) { hang_up(client); reopened++; return; }
        if (n == 0 && client->state == UNTIL_END) { finish(client, true); return; }
        cut_short++;
        finish(client, false);
        return;
    }
    bytes_in += (uint64_t)n;
    if (!client->busy) { bad_head++; hang_up(client); return; }
    if (take(client, buffer, (size_t)n)) finish(client, true);
}

static void parse(int count, char **words) {
    static struct option options[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'}, {"requests", 1, 0, 'n'}, {"rate", 1, 0, 'r'},
        {"sources", 1, 0, 'a'}, {"expect", 1, 0, 'e'}, {"want", 1, 0, 'w'}, {"messages", 1, 0, 'm'}, {"close", 0, 0, 'x'}, {"hold", 0, 0, 'h'},
        {"each", 1, 0, 'f'}, {0},
    };
    int option;
    while ((option = getopt_long(count, words, "", options, NULL)) != -1) switch (option) {
        case 'p': how.port = atoi(optarg); break;
        case 'c': how.connections = atoi(optarg); break;
        case 's': how.seconds = atof(optarg); break;
        case 'n': how.requests = strtoull(optarg, NULL, 10); break;
        case 'r': how.rate = atof(optarg); break;
        case 'a': how.sources = atoi(optarg); break;
        case 'e': how.expect = strtoull(optarg, NULL, 10); break;
        case 'w': how.want = optarg; break;
        case 'm': read_messages(optarg); break;
        case 'x': how.close = true; break;
        case 'h': how.hold = 1; break;
        case 'f': if (!(how.each = fopen(optarg, "wb"))) die(optarg); break;
        default: exit(2);
    }
    if (!how.port || !message_count || how.connections < 1) { fprintf(stderr, "usage: load --port N --messages FILE [...]\n"); exit(2); }
}

int main(int count, char **words) {
    parse(count, words);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    prctl(PR_SET_TIMERSLACK, 1000);
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)how.connections, sizeof *clients);
    idle = calloc((size_t)how.connections, sizeof *idle);
    if (poller < 0 || !clients || !idle) die("setting up");
    for (int i = 0; i < how.connections; i++) { clients[i].fd = -1; idle[idle_count++] = i; }
    if (how.hold) how.requests = (uint64_t)how.connections;
    /* A few at a time where clients only come to stay: what is measured is their number, not the crowd at the door. */
    uint64_t at_once = how.hold ? 64 : UINT64_MAX;
    begun = now_ns();
    uint64_t stop = begun + (uint64_t)(how.seconds * 1e9), last = begun;
    double step = how.rate > 0 ? 1e9 / how.rate : 0;
    bool over = false;
    struct epoll_event events[256];
    for (;;) {
        uint64_t now = now_ns();
        over = over || told_to_end || (how.requests ? issued >= how.requests : now >= stop);
        while (!over && idle_count && outstanding < at_once) {
            uint64_t due = now;
            if (step > 0) {
                due = begun + (uint64_t)((double)issued * step);
                if (due > now) break;
            }
            issue(&clients[idle[--idle_count]], due);
            if (how.requests && issued >= how.requests) over = true;
        }
        if (over && outstanding == 0) break;
        if (over && now > last + 10000000000u && now > stop) break; /* nothing has come for ten seconds */
        struct timespec patience = {.tv_sec = 0, .tv_nsec = 100000000};
        if (step > 0 && !over && idle_count) {
            uint64_t due = begun + (uint64_t)((double)issued * step);
            now = now_ns();
            uint64_t left = due > now ? due - now : 0;
            if (left < 100000000) patience.tv_nsec = (long)left;
        }
        int n = epoll_pwait2(poller, events, 256, &patience, NULL);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (client->fd < 0) continue;
            if (events[i].events & EPOLLOUT && client->busy) push(client);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(client);
        }
        if (n > 0) last = now_ns();
    }
    if (how.hold) {
        printf("held %llu\n", (unsigned long long)answered);
        fflush(stdout);
        while (!told_to_end) pause();
    }
    for (int i = 0; i < how.connections; i++)
        if (clients[i].busy && !how.hold) leave_record(&clients[i], false, now_ns() - clients[i].since);
    if (how.each && fclose(how.each) != 0) die("the records");
    double seconds = (double)(last - begun) / 1e9;
    printf("{\"answered\": %llu, \"issued\": %llu, \"unanswered\": %llu, \"seconds\": %.6f, \"bytes\": %llu, \"body_bytes\": %llu, \"opened\": %llu, "
           "\"reopened\": %llu, \"failures\": {\"status\": %llu, \"length\": %llu, \"head\": %llu, \"header\": %llu, \"cut\": %llu}, "
           "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
           (unsigned long long)answered, (unsigned long long)issued, (unsigned long long)outstanding, seconds, (unsigned long long)bytes_in,
           (unsigned long long)body_bytes, (unsigned long long)opened, (unsigned long long)reopened, (unsigned long long)bad_status,
           (unsigned long long)bad_length, (unsigned long long)bad_head, (unsigned long long)bad_header, (unsigned long long)cut_short,
           quantile(0.5), quantile(0.9), quantile(0.99), quantile(0.999), (double)slowest / 1000.0);
    return 0;
}
