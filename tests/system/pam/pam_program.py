"""A login program: python3 pam_program.py SERVICE ACCOUNT HOST CALLS [ANSWER...], by ctypes.

CALLS are PAM functions joined by commas. Each ANSWER is typed at one prompt; "NULL" answers
with no string, "FAIL" makes the conversation fail, and so does the end of the answers. It prints
the code of each call and what was said, as JSON.
"""

import ctypes
import ctypes.util
import json
import sys

STYLES = {1: "prompt", 2: "prompt-echo", 3: "error", 4: "info"}
CONV_ERR, RHOST = 19, 4


class Message(ctypes.Structure):
    """`struct pam_message`."""

    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class Response(ctypes.Structure):
    """`struct pam_response`."""

    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)


class Conversation(ctypes.Structure):
    """`struct pam_conv`."""

    _fields_ = (("converse", Converse), ("data", ctypes.c_void_p))


def main():
    """Run and print."""
    service, account, host, calls, *answers = sys.argv[1:]
    pam = ctypes.CDLL(ctypes.util.find_library("pam"))
    libc = ctypes.CDLL(None)
    libc.calloc.restype = ctypes.c_void_p
    libc.strdup.restype = ctypes.c_void_p
    said = []

    def converse(count, messages, responses, _data):
        array = ctypes.cast(libc.calloc(count, ctypes.sizeof(Response)), ctypes.POINTER(Response))
        for i in range(count):
            message = messages[i].contents
            said.append([STYLES[message.style], message.text.decode()])
            if message.style > 2:
                continue
            answer = answers.pop(0) if answers else "FAIL"
            if answer == "FAIL":
                return CONV_ERR
            array[i].text = None if answer == "NULL" else libc.strdup(answer.encode())
        responses[0] = array
        return 0

    conversation = Conversation(Converse(converse), None)
    handle = ctypes.c_void_p()
    code = pam.pam_start(
        service.encode(), account.encode(), ctypes.byref(conversation), ctypes.byref(handle)
    )
    results = {"start": code}
    if host:
        pam.pam_set_item(handle, RHOST, host.encode())
    for call in calls.split(","):
        results[call] = code = getattr(pam, f"pam_{call}")(handle, 0)
    pam.pam_end(handle, code)
    print(json.dumps({"said": said, **results}))


main()
