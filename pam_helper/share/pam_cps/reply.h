/* What the daemon answers and the settings say, read with bounds; pure functions, fuzzed by tests/system/pam/test_pam_cps.py. */
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

/* What an answer to the question is for; the card counts in the last two. */
enum next { NEXT_NOTHING, NEXT_PASSWORD, NEXT_ANY, NEXT_CARD };

struct answer {
    int result; /* a PAM code; never PAM_IGNORE */
    enum next next;
    bool takes_code; /* what looks like a one-time code may be one */
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

/* What a text that was typed is: how PINs, the sign of the last try, and codes look. */
enum typed { TYPED_OTHER, TYPED_PIN, TYPED_LAST };
enum typed kind_of(const char *text, size_t digits);

/* Copy a typed one-time code without its separators, in capitals; false if it is none. */
bool normalise_code(const char *typed, char *code, size_t length);

/* Whether the text can be an account or a service in a request. */
bool is_name(const char *text);

/* Whether a line of TOML begins a table, or sets the language to English. */
bool is_table(const char *line);
bool sets_english(const char *line);

/* Whether a PAM_RHOST names no other machine. */
bool is_this_machine(const char *host);

#endif
