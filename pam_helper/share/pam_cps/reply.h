/* What the daemon answers, read with bounds; pure functions, fuzzed by tests/system/pam/test_pam_cps.py. */
#ifndef CPS_AUTH_REPLY_H
#define CPS_AUTH_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#define MAX_REPLY 4096
#define MAX_LINES 8
#define MAX_LINE 512

/* Bytes as they came, not terminated. */
struct reply {
    char bytes[MAX_REPLY];
    size_t length;
};

enum next { NEXT_NOTHING, NEXT_PIN, NEXT_CODE };

struct answer {
    int result; /* a PAM code; never PAM_IGNORE */
    enum next next;
    size_t line_count;
    char lines[MAX_LINES][MAX_LINE]; /* to show: printable, terminated */
};

/* Whether the whole reply is this text, byte for byte. */
bool is_exactly(const struct reply *reply, const char *text);

/* Whether the reply's first bytes are this text. */
bool begins_with(const struct reply *reply, const char *text);

/* Read a reply; false, with PAM_SYSTEM_ERR as the result, if it is not one of the protocol's. */
bool read_answer(const struct reply *reply, struct answer *answer);

/* Whether the text is exactly so many ASCII digits. */
bool looks_like_pin(const char *text, size_t digits);

/* Copy a typed one-time code without its separators, in capitals; false if it is none. */
bool normalise_code(const char *typed, char *code, size_t length);

/* Whether the text can be an account or a service in a request. */
bool is_name(const char *text);

/* Whether a PAM_RHOST names no other machine. */
bool is_this_machine(const char *host);

#endif
