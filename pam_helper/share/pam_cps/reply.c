#define _GNU_SOURCE
#include "reply.h"

#include <stdio.h>
#include <string.h>

#include <security/_pam_types.h>

#define MAX_NAME 64

static const struct {
    const char *name;
    int code;
} RESULTS[] = {
    {"PAM_SUCCESS", PAM_SUCCESS},
    {"PAM_SYSTEM_ERR", PAM_SYSTEM_ERR},
    {"PAM_PERM_DENIED", PAM_PERM_DENIED},
    {"PAM_AUTH_ERR", PAM_AUTH_ERR},
    {"PAM_CRED_INSUFFICIENT", PAM_CRED_INSUFFICIENT},
    {"PAM_AUTHINFO_UNAVAIL", PAM_AUTHINFO_UNAVAIL},
    {"PAM_MAXTRIES", PAM_MAXTRIES},
    {"PAM_CRED_UNAVAIL", PAM_CRED_UNAVAIL},
    {"PAM_CRED_EXPIRED", PAM_CRED_EXPIRED},
    {"PAM_USER_UNKNOWN", PAM_USER_UNKNOWN},
};

struct span {
    const char *start;
    size_t length;
};

bool is_exactly(const struct reply *reply, const char *text) {
    return reply->length == strlen(text) && memcmp(reply->bytes, text, reply->length) == 0;
}

bool begins_with(const struct reply *reply, const char *text) {
    size_t length = strlen(text);
    return reply->length >= length && memcmp(reply->bytes, text, length) == 0;
}

static bool is(struct span word, const char *text) {
    return word.length == strlen(text) && memcmp(word.start, text, word.length) == 0;
}

/* Cut up to the next separator; false if there is none. */
static bool cut(struct span *rest, char separator, struct span *piece) {
    const char *end = rest->length ? memchr(rest->start, separator, rest->length) : NULL;
    if (end == NULL) return false;
    *piece = (struct span){rest->start, (size_t)(end - rest->start)};
    rest->length -= piece->length + 1;
    rest->start = end + 1;
    return true;
}

static bool read_result(struct span word, int *result) {
    for (size_t i = 0; i < sizeof RESULTS / sizeof *RESULTS; i++) {
        if (is(word, RESULTS[i].name)) {
            *result = RESULTS[i].code;
            return true;
        }
    }
    return false;
}

static bool read_next(struct span word, struct answer *answer) {
    static const struct {
        const char *word;
        enum next next;
        bool takes_code;
    } WORDS[] = {
        {"-", NEXT_NOTHING, false}, {"password", NEXT_PASSWORD, false},
        {"any", NEXT_ANY, false},   {"any+code", NEXT_ANY, true},
        {"card", NEXT_CARD, false}, {"card+code", NEXT_CARD, true},
    };
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (!is(word, WORDS[i].word)) continue;
        answer->next = WORDS[i].next;
        answer->takes_code = WORDS[i].takes_code;
        return true;
    }
    return false;
}

/* Copy a line to show: nothing in it moves a cursor or ends a string early. */
static void copy_line(struct span line, char *shown) {
    size_t length = line.length < MAX_LINE - 1 ? line.length : MAX_LINE - 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)line.start[i];
        shown[i] = (char)(byte < 0x20 || byte == 0x7f ? '?' : byte);
    }
    shown[length] = '\0';
}

bool read_answer(const struct reply *reply, struct answer *answer) {
    struct span rest = {reply->bytes, reply->length};
    struct span first, result, code, attempts, line;
    int pam_result = PAM_SYSTEM_ERR;
    *answer = (struct answer){.result = PAM_SYSTEM_ERR};
    if (!cut(&rest, '\n', &first)) return false;
    if (!cut(&first, ' ', &result) || !cut(&first, ' ', &code) || !cut(&first, ' ', &attempts))
        return false;
    if (code.length == 0 || attempts.length == 0) return false;
    if (!read_result(result, &pam_result) || !read_next(first, answer)) return false;
    while (answer->line_count < MAX_LINES && cut(&rest, '\n', &line))
        copy_line(line, answer->lines[answer->line_count++]);
    answer->result = pam_result;
    return true;
}

bool looks_like_pin(const char *text, size_t digits) {
    if (strnlen(text, digits + 1) != digits) return false;
    for (size_t i = 0; i < digits; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

enum typed kind_of(const char *text, size_t digits) {
    if (looks_like_pin(text, digits)) return TYPED_PIN;
    return *text == '!' && looks_like_pin(text + 1, digits) ? TYPED_LAST : TYPED_OTHER;
}

static bool is_letter_or_digit(char character) {
    return (character >= 'A' && character <= 'Z') || (character >= '0' && character <= '9');
}

bool normalise_code(const char *typed, char *code, size_t length) {
    size_t count = 0;
    for (; *typed != '\0'; typed++) {
        char character = *typed;
        if (character == '-' || character == ' ') continue;
        if (character >= 'a' && character <= 'z') character = (char)(character - 'a' + 'A');
        if (count == length || !is_letter_or_digit(character)) return false;
        code[count++] = character;
    }
    return count == length;
}

static bool is_name_character(char character) {
    return is_letter_or_digit(character) || (character >= 'a' && character <= 'z') ||
           character == '_';
}

bool is_name(const char *text) {
    size_t length = strnlen(text, MAX_NAME + 1);
    if (length == 0 || length > MAX_NAME || !is_name_character(text[0])) return false;
    for (size_t i = 1; i < length; i++)
        if (!is_name_character(text[i]) && strchr(".@+-", text[i]) == NULL) return false;
    return true;
}

bool is_table(const char *line) { return line[strspn(line, " \t")] == '['; }

bool sets_english(const char *line) {
    int end = 0;
    (void)sscanf(line, " language = %*1[\"']en%*1[\"']%n", &end);
    return end > 0;
}

bool is_this_machine(const char *host) {
    return *host == '\0' || strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "::1") == 0;
}
