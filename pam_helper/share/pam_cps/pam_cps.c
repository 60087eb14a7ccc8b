/*
 * pam_cps.so: asks the card daemon of cps-auth, over a protocol described in docs/protocol.md.
 *
 * It asks the person one question, and looks then: four digits are for the card, anything else is
 * handed on to the next module as PAM_AUTHTOK. It decides nothing. The answer is no until the
 * daemon, which must be root's, has said yes in exactly its words; that one comparison is the last
 * act of pam_sm_authenticate. PAM_IGNORE is never returned.
 *
 * The sentences that are its own are in the language of the settings, French by default.
 * Arguments: lang=fr, lang=en, another one; card_required: no password counts, so nothing is
 * handed on.
 *
 * What each function returns:
 *   pam_sm_authenticate   PAM_SUCCESS            the daemon said yes
 *                         PAM_USER_UNKNOWN       not for the card: the next module's. The only
 *                                                result that may lead on to a password
 *                         PAM_AUTH_ERR           wrong PIN, an answer that is none, no daemon, no
 *                                                reader, no card. Not PAM_AUTHINFO_UNAVAIL: GDM
 *                                                takes that for a service that is gone for good
 *                         PAM_PERM_DENIED        revoked card, no access here, or a set-uid
 *                                                program that somebody else runs
 *                         PAM_MAXTRIES           card blocked, or one attempt left
 *                         PAM_CONV_ERR           the program could not ask the person
 *                         PAM_SYSTEM_ERR         anything nobody foresaw, rubbish from the daemon
 *                         and the others of pam_helper/daemon/pam_results.py, as the daemon says
 *   pam_sm_setcred        PAM_SUCCESS: a card leaves no credential behind
 *   pam_sm_acct_mgmt      PAM_SUCCESS after a yes in this very transaction, else PAM_PERM_DENIED
 *   pam_sm_open_session, pam_sm_close_session
 *                         PAM_SUCCESS: the daemon learns of sessions from logind
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <security/pam_modutil.h>

#include "reply.h"

#define SOCKET_PATH "/run/cps-auth/auth.sock"
#define SETTINGS_PATH "/etc/cps-auth/config.toml" /* everybody may read it */
#define CONNECT_WITHIN_MS 2000
#define ALIVE_WITHIN_MS 1500 /* one that is stopped holds nobody up for longer */
#define ANSWER_WITHIN_MS 22000 /* the daemon gives a card up before that */
#define QUESTION_WITHIN_MS 4000 /* and its question waits for no card */
#define RETRY_CONNECT_MS 20    /* its queue is full */
#define PIN_DIGITS 4
#define CODE_CHARACTERS 12
#define MAX_SECRET CODE_CHARACTERS
#define MAX_REQUEST 256
#define ALIVE_LINE "PAM_AUTHINFO_UNAVAIL alive - -\n"
#define VERIFIED_DATA "cps_auth_verified"

enum words { NO_ANSWER, NOT_A_PIN, NOT_HERE, ANY_PROMPT, CARD_PROMPT, PASSWORD_PROMPT, WORDS };

static const char *const SENTENCES[2][WORDS] = {
    {"Le service de la carte CPS ne répond pas.",
     "Le code de la carte a quatre chiffres ; rien n'a été envoyé à la carte.",
     "La carte CPS n'est pas acceptée ici.", "Code de la carte ou mot de passe :",
     "Code de la carte :", "Mot de passe :"},
    {"The CPS card service does not answer.",
     "The card code has four digits; nothing was sent to the card.",
     "The CPS card is not accepted here.", "Card code or password:", "Card code:",
     "Password:"},
};

struct client {
    pam_handle_t *pamh;
    bool silent;
    bool english;
    bool card_required;
    bool is_others; /* a set-uid program that another user runs: no card is used for it */
    const char *user;
    const char *service;
};

static int64_t now_ms(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait until the socket is ready or the time is over. */
static bool wait_for(int fd, short events, int64_t deadline_ms) {
    for (;;) {
        int64_t left_ms = deadline_ms - now_ms();
        if (left_ms <= 0) return false;
        struct pollfd one = {.fd = fd, .events = events};
        int ready = poll(&one, 1, (int)left_ms);
        if (ready > 0) return true;
        if (ready == 0 || errno != EINTR) return false;
    }
}

static bool is_roots(int fd) {
    struct ucred peer = {0};
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           length == sizeof peer && peer.uid == 0;
}

/* Return a socket to root's daemon, or -1: an impostor on the path never sees a PIN. */
static int connect_to_daemon(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int64_t deadline_ms = now_ms() + CONNECT_WITHIN_MS;
    while (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        if ((errno != EAGAIN && errno != EINTR) || now_ms() >= deadline_ms) goto refused;
        (void)poll(NULL, 0, RETRY_CONNECT_MS);
    }
    if (is_roots(fd)) return fd;
refused:
    (void)close(fd);
    return -1;
}

static bool send_all(int fd, const uint8_t *bytes, size_t length, int64_t deadline_ms) {
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EINTR || errno == EAGAIN)) {
            if (!wait_for(fd, POLLOUT, deadline_ms)) return false;
            continue;
        }
        if (sent <= 0) return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Read the line with which a daemon that runs answers at once; false for anything else. */
static bool receive_alive(int fd, int64_t deadline_ms) {
    char line[sizeof ALIVE_LINE - 1];
    size_t length = 0;
    while (length < sizeof line) {
        if (!wait_for(fd, POLLIN, deadline_ms)) return false;
        ssize_t got = recv(fd, line + length, sizeof line - length, 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got <= 0) return false;
        length += (size_t)got;
    }
    return memcmp(line, ALIVE_LINE, sizeof line) == 0;
}

/* Read until the daemon closes; false if that is too late or too long. */
static bool receive_all(int fd, struct reply *reply, int64_t deadline_ms) {
    reply->length = 0;
    for (;;) {
        if (!wait_for(fd, POLLIN, deadline_ms)) return false;
        size_t room = sizeof reply->bytes - reply->length;
        if (room == 0) return false;
        ssize_t got = recv(fd, reply->bytes + reply->length, room, 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got < 0) return false;
        if (got == 0) return reply->length > 0;
        reply->length += (size_t)got;
    }
}

/* Ask the daemon; `secret` is NULL, for the question, or a buffer of `secret_length` characters. */
static bool ask(const struct client *client, const char *verb, const char *secret,
                size_t secret_length, struct reply *reply) {
    uint8_t request[MAX_REQUEST + 1 + MAX_SECRET];
    int64_t start_ms = now_ms();
    int64_t deadline_ms = start_ms + (secret == NULL ? QUESTION_WITHIN_MS : ANSWER_WITHIN_MS);
    int written = snprintf((char *)request, MAX_REQUEST, "cps1 %s %s %s\n", verb, client->user,
                           client->service);
    if (written <= 0 || written >= MAX_REQUEST || secret_length > MAX_SECRET) return false;
    size_t length = (size_t)written;
    if (secret != NULL) {
        request[length++] = (uint8_t)secret_length;
        memcpy(request + length, secret, secret_length);
        length += secret_length;
    }
    bool answered = false;
    int fd = connect_to_daemon();
    if (fd >= 0) {
        answered = send_all(fd, request, length, deadline_ms) &&
                   (secret != NULL || receive_alive(fd, start_ms + ALIVE_WITHIN_MS)) &&
                   receive_all(fd, reply, deadline_ms);
        (void)close(fd);
    }
    explicit_bzero(request, sizeof request);
    return answered;
}

static void tell(const struct client *client, int style, const char *text) {
    if (!client->silent && *text != '\0') (void)pam_prompt(client->pamh, style, NULL, "%s", text);
}

static void tell_own(const struct client *client, enum words which) {
    tell(client, PAM_ERROR_MSG, SENTENCES[client->english ? 1 : 0][which]);
}

/* Ask the person; NULL with a PAM code in `*result` if nothing usable came. */
static char *prompt(const struct client *client, const char *text, int *result) {
    char *answer = NULL;
    int asked = pam_prompt(client->pamh, PAM_PROMPT_ECHO_OFF, &answer, "%s ", text);
    if (asked != PAM_SUCCESS) {
        if (answer != NULL) explicit_bzero(answer, strlen(answer));
        free(answer);
        *result = PAM_CONV_ERR;
        return NULL;
    }
    if (answer == NULL) *result = PAM_AUTH_ERR;
    return answer;
}

/* Show a refusal and return its PAM code. */
static int refuse(const struct client *client, const struct reply *reply) {
    struct answer answer;
    if (!read_answer(reply, &answer)) return PAM_SYSTEM_ERR;
    for (size_t i = 0; i < answer.line_count; i++) tell(client, PAM_ERROR_MSG, answer.lines[i]);
    return answer.result == PAM_SUCCESS ? PAM_SYSTEM_ERR : answer.result;
}

/* Have the daemon verify four digits; `verb` is "verify" or, where the person said so, "last". */
static int verify(const struct client *client, const char *verb, const char *pin) {
    struct reply reply;
    if (!ask(client, verb, pin, PIN_DIGITS, &reply)) {
        tell_own(client, NO_ANSWER);
        return PAM_AUTH_ERR;
    }
    if (!is_exactly(&reply, "PAM_SUCCESS verified - -\n")) return refuse(client, &reply);
    return PAM_SUCCESS;
}

/* Try what was typed as a one-time code; PAM_USER_UNKNOWN if it is none, and may be a password. */
static int use_code(const struct client *client, const char *typed, bool is_required) {
    char code[CODE_CHARACTERS];
    struct reply reply;
    struct answer answer;
    bool answered = normalise_code(typed, code, sizeof code) &&
                    ask(client, "code", code, sizeof code, &reply);
    explicit_bzero(code, sizeof code);
    if (!answered) return PAM_USER_UNKNOWN;
    if (!begins_with(&reply, "PAM_SUCCESS code-accepted - -\n"))
        return is_required ? refuse(client, &reply) : PAM_USER_UNKNOWN;
    if (!read_answer(&reply, &answer)) return PAM_SYSTEM_ERR;
    for (size_t i = 0; i < answer.line_count; i++) tell(client, PAM_TEXT_INFO, answer.lines[i]);
    return PAM_SUCCESS;
}

/* Hand what is not for the card to the next module, which asks nothing then. */
static int hand_on(const struct client *client, const char *typed) {
    if (pam_set_item(client->pamh, PAM_AUTHTOK, typed) != PAM_SUCCESS) return PAM_SYSTEM_ERR;
    return PAM_USER_UNKNOWN;
}

/* Whether the daemon answers now; one that is stopped is waited for no longer than for a question. */
static bool answers(const struct client *client) {
    struct reply reply;
    return ask(client, client->card_required ? "require" : "ask", NULL, 0, &reply);
}

/* Decide on the answer. Without the daemon's word (`found` is NULL) four digits are no password. */
static int decide(const struct client *client, const struct answer *found, const char *typed) {
    bool is_required = client->card_required || (found != NULL && found->next == NEXT_CARD);
    enum typed kind = kind_of(typed, PIN_DIGITS);
    if (kind != TYPED_OTHER && found != NULL && found->next == NEXT_PASSWORD) {
        tell_own(client, NOT_HERE);
        return PAM_AUTH_ERR;
    }
    if (client->is_others && kind != TYPED_OTHER) return PAM_AUTH_ERR;
    if (kind != TYPED_OTHER && found == NULL && !answers(client)) {
        tell_own(client, NO_ANSWER);
        return PAM_AUTH_ERR;
    }
    if (kind == TYPED_PIN) return verify(client, "verify", typed);
    if (kind == TYPED_LAST) return verify(client, "last", typed + 1);
    if (found != NULL && found->takes_code && !client->is_others) {
        int result = use_code(client, typed, is_required);
        if (result != PAM_USER_UNKNOWN) return result;
    }
    if (!is_required) return hand_on(client, typed);
    tell_own(client, found == NULL ? NO_ANSWER : NOT_A_PIN);
    return PAM_AUTH_ERR;
}

/* Ask the one question, whatever the reader holds, and decide on the answer. */
static int authenticate(const struct client *client) {
    struct reply reply;
    struct answer answer;
    const struct answer *found = NULL;
    enum words own = client->card_required ? CARD_PROMPT : ANY_PROMPT;
    const char *text = SENTENCES[client->english ? 1 : 0][own];
    if (ask(client, client->card_required ? "require" : "ask", NULL, 0, &reply) &&
        read_answer(&reply, &answer)) {
        if (answer.result == PAM_USER_UNKNOWN) return PAM_USER_UNKNOWN;
        if (client->is_others) {
            answer.next = NEXT_PASSWORD;
            found = &answer;
            text = SENTENCES[client->english ? 1 : 0][PASSWORD_PROMPT];
        } else if (answer.result == PAM_SUCCESS && answer.next != NEXT_NOTHING &&
                   answer.line_count > 0) {
            found = &answer;
            text = answer.lines[answer.line_count - 1]; /* the last line is the prompt */
            for (size_t i = 0; i + 1 < answer.line_count; i++)
                tell(client, PAM_TEXT_INFO, answer.lines[i]);
        }
    }
    int result = PAM_SYSTEM_ERR;
    char *typed = prompt(client, text, &result);
    if (typed == NULL) return result;
    result = decide(client, found, typed);
    explicit_bzero(typed, strlen(typed));
    free(typed);
    return result;
}

/*
 * Whether who runs this program may ask for the account. A set-uid one (su, sudo, polkit's) has
 * root's privilege at the daemon, and types what its user typed: for that user's account only.
 */
static bool may_ask(const struct client *client) {
    uid_t runs_it = getuid();
    if (runs_it == 0 || runs_it == geteuid()) return true; /* the daemon sees who it is */
    const struct passwd *account = pam_modutil_getpwnam(client->pamh, client->user);
    if (account != NULL && account->pw_uid == runs_it) return true;
    pam_syslog(client->pamh, LOG_NOTICE, "uid %u asks for %s by a set-uid program: no card",
               (unsigned)runs_it, client->user);
    return false;
}

/* The account and the service, if they can be written in a request. */
static int describe(struct client *client) {
    const void *service = NULL, *host = NULL;
    int got = pam_get_user(client->pamh, &client->user, NULL);
    if (got != PAM_SUCCESS || client->user == NULL || !is_name(client->user))
        return got == PAM_CONV_ERR ? PAM_CONV_ERR : PAM_USER_UNKNOWN;
    if (pam_get_item(client->pamh, PAM_SERVICE, &service) != PAM_SUCCESS || service == NULL ||
        !is_name(service))
        return PAM_SYSTEM_ERR;
    client->service = service;
    /* Whoever comes from afar is not in front of the reader: that is for other modules. */
    if (pam_get_item(client->pamh, PAM_RHOST, &host) == PAM_SUCCESS && host != NULL &&
        !is_this_machine(host))
        return PAM_USER_UNKNOWN;
    client->is_others = !may_ask(client);
    return client->is_others && client->card_required ? PAM_PERM_DENIED : PAM_SUCCESS;
}

/* Whether the settings ask for English, in a line above all tables; unreadable ones do not. */
static bool speaks_english(void) {
    char line[MAX_REQUEST];
    bool english = false;
    FILE *settings = fopen(SETTINGS_PATH, "re");
    if (settings == NULL) return false;
    while (fgets(line, sizeof line, settings) != NULL && !is_table(line))
        english = english || sets_english(line);
    (void)fclose(settings);
    return english;
}

static bool read_arguments(struct client *client, int argc, const char **argv) {
    client->english = speaks_english();
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "lang=en") == 0) {
            client->english = true;
        } else if (strcmp(argv[i], "card_required") == 0) {
            client->card_required = true;
        } else if (strcmp(argv[i], "lang=fr") == 0) {
            client->english = false;
        } else {
            pam_syslog(client->pamh, LOG_ERR, "unknown argument: %s", argv[i]);
            return false;
        }
    }
    return true;
}

#pragma GCC visibility push(default) /* what PAM looks up, and nothing else */

PAM_EXTERN int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    struct client client = {.pamh = pamh, .silent = ((unsigned)flags & PAM_SILENT) != 0};
    if (!read_arguments(&client, argc, argv)) return PAM_SYSTEM_ERR;
    (void)pam_set_data(pamh, VERIFIED_DATA, NULL, NULL); /* of an earlier try */
    int result = describe(&client);
    if (result != PAM_SUCCESS) return result;
    result = authenticate(&client);
    if (result != PAM_SUCCESS) return result;
    static char verified[] = "yes";
    if (pam_set_data(pamh, VERIFIED_DATA, verified, NULL) != PAM_SUCCESS) return PAM_SYSTEM_ERR;
    return PAM_SUCCESS;
}

PAM_EXTERN int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

PAM_EXTERN int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    const void *verified = NULL;
    (void)flags, (void)argc, (void)argv;
    if (pam_get_data(pamh, VERIFIED_DATA, &verified) != PAM_SUCCESS || verified == NULL)
        return PAM_PERM_DENIED;
    return PAM_SUCCESS;
}

PAM_EXTERN int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

PAM_EXTERN int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

#pragma GCC visibility pop
