/* A libpcsclite.so.1 whose readers and refusals are what a test wrote down.
 *
 * ODD_PCSC names a folder:
 *   names   the readers' names, each ended by a zero byte
 *   states  one letter a reader: e empty, p present (a CPS3), m mute, b broken (its driver answers
 *           nothing), u unknown to everything but SCardListReaders
 *   codes   what calls fail with: "SCardConnect 80100066", one a line
 *   calls   one letter a call: L SCardListReaders, S SCardGetStatusChange
 * As in pcsc-lite, SCardGetStatusChange takes 16 readers, "\\?PnP?\Notification" included, and no
 * name longer than MAX_READERNAME.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef unsigned long word;
typedef struct {
    const char *name;
    void *user;
    word current, event, atr_length;
    unsigned char atr[33];
} reader_state;
typedef struct { word protocol, length; } pci;

enum { MOST = 16, MAX_READERNAME = 128, READERS = 64 };
enum { UNAWARE = 0, CHANGED = 2, UNKNOWN = 4, UNAVAILABLE = 8, EMPTY = 16, PRESENT = 32, MUTE = 512 };
#define TOLD (EMPTY | PRESENT | MUTE | UNAVAILABLE)

const pci g_rgSCardT0Pci = {1, 16}, g_rgSCardT1Pci = {2, 16}, g_rgSCardRawPci = {4, 16};
static const unsigned char ATR[] = {0x3B, 0xAC, 0x00, 0x40, 0x2A, 0x00, 0x12, 0x25,
                                    0x00, 0x64, 0x80, 0x00, 0x03, 0x10, 0x00, 0x90, 0x00};
static volatile int cancelled;

static int content(const char *file, char *into, int most) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("ODD_PCSC"), file);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    int got = read(fd, into, most - 1);
    close(fd);
    into[got] = 0;
    return got;
}

static void note(char call) {
    char path[4096];
    snprintf(path, sizeof path, "%s/calls", getenv("ODD_PCSC"));
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd >= 0 && write(fd, &call, 1) == 1) close(fd);
}

static long refusal(const char *call) {
    char codes[4096], *at, *line;
    content("codes", codes, sizeof codes);
    for (line = strtok_r(codes, "\n", &at); line; line = strtok_r(NULL, "\n", &at)) {
        char name[64];
        unsigned code;
        if (sscanf(line, "%63s %x", name, &code) == 2 && !strcmp(name, call)) return (long)code;
    }
    return 0;
}

/* Fills in a reader; returns how many there are. */
static int look(const char *wanted, char *state) {
    static char names[READERS * 256];
    char states[READERS + 1];
    int size = content("names", names, sizeof names), count = 0;
    int known = content("states", states, sizeof states);
    *state = 0;
    for (char *name = names; name < names + size; name += strlen(name) + 1, count++)
        if (!*state && count < known && !strcmp(name, wanted)) *state = states[count];
    return count;
}

long SCardEstablishContext(word scope, const void *a, const void *b, long *context) {
    (void)scope, (void)a, (void)b;
    *context = 7;
    return refusal("SCardEstablishContext");
}

long SCardReleaseContext(long context) { (void)context; return 0; }
long SCardIsValidContext(long context) { (void)context; return 0; }
long SCardCancel(long context) { (void)context; cancelled = 1; return 0; }

long SCardListReaders(long context, const char *groups, char *names, word *length) {
    char all[READERS * 256];
    (void)context, (void)groups;
    note('L');
    long code = refusal("SCardListReaders");
    int size = content("names", all, sizeof all);
    if (code) return code;
    if (!size) return 0x8010002E;
    all[size++] = 0;
    if (names && *length < (word)size) return 0x80100008;
    if (names) memcpy(names, all, size);
    *length = size;
    return 0;
}

long SCardGetStatusChange(long context, word timeout_ms, reader_state *states, word count) {
    (void)context;
    note('S');
    long code = refusal("SCardGetStatusChange");
    if (code) return code;
    if (count > MOST) return (long)0x80100011;
    for (word spent_ms = 0; ; spent_ms += 10) {
        int differs = 0;
        for (word i = 0; i < count; i++) {
            reader_state *one = &states[i];
            char state;
            int readers = look(one->name, &state);
            if (!strcasecmp(one->name, "\\\\?PnP?\\Notification")) {
                differs |= one->current >> 16 != (word)readers;
                one->event = (word)readers << 16;
                continue;
            }
            if (strlen(one->name) >= MAX_READERNAME) return (long)0x80100011;
            if (!state || state == 'u') return (long)0x80100009;
            one->event = state == 'e' ? EMPTY : state == 'b' ? UNAVAILABLE : PRESENT;
            if (state == 'm') one->event |= MUTE;
            one->atr_length = state == 'p' ? sizeof ATR : 0;
            memcpy(one->atr, ATR, sizeof ATR);
            if ((one->current & TOLD) != one->event) one->event |= CHANGED, differs = 1;
        }
        if (differs) return 0;
        if (cancelled) { cancelled = 0; return (long)0x80100002; }
        if (spent_ms >= timeout_ms) return (long)0x8010000A;
        usleep(10000);
    }
}

long SCardConnect(long context, const char *name, word share, word protocols, long *card,
                  word *protocol) {
    char state;
    (void)context, (void)share, (void)protocols;
    look(name, &state);
    *card = 8;
    *protocol = 1;
    if (state == 'm') return (long)0x80100066;
    if (state != 'p') return (long)0x8010000C;
    return refusal("SCardConnect");
}

long SCardReconnect(long card, word share, word protocols, word how, word *protocol) {
    (void)card, (void)share, (void)protocols, (void)how;
    *protocol = 1;
    return refusal("SCardReconnect");
}

long SCardDisconnect(long card, word how) { (void)card, (void)how; return 0; }
long SCardBeginTransaction(long card) { (void)card; return refusal("SCardBeginTransaction"); }
long SCardEndTransaction(long card, word how) { (void)card, (void)how; return 0; }

long SCardTransmit(long card, const pci *sent, const unsigned char *command, word length,
                   pci *received, unsigned char *answer, word *answer_length) {
    (void)card, (void)sent, (void)command, (void)length, (void)received;
    long code = refusal("SCardTransmit");
    if (code) { *answer_length = 0; return code; }
    answer[0] = 0x6D, answer[1] = 0x00;
    *answer_length = 2;
    return 0;
}

long SCardStatus(long card, char *n, word *nl, word *s, word *p, unsigned char *a, word *al) {
    (void)card, (void)n, (void)nl, (void)s, (void)p, (void)a, (void)al;
    return 0x80100001;
}

long SCardControl(long card, word code, const void *in, word il, void *out, word ol, word *got) {
    (void)card, (void)code, (void)in, (void)il, (void)out, (void)ol;
    *got = 0;
    return 0x80100022;
}

long SCardGetAttrib(long card, word id, unsigned char *a, word *al) {
    (void)card, (void)id, (void)a, (void)al;
    return 0x80100022;
}

long SCardSetAttrib(long card, word id, const unsigned char *a, word al) {
    (void)card, (void)id, (void)a, (void)al;
    return 0x80100022;
}

long SCardFreeMemory(long context, const void *memory) { (void)context, (void)memory; return 0; }

long SCardListReaderGroups(long context, char *groups, word *length) {
    (void)context, (void)groups;
    *length = 0;
    return 0x80100022;
}

const char *pcsc_stringify_error(long code) { (void)code; return "odd"; }
