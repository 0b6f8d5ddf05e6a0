/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: which hosts are this machine, and which addresses a connection may be made to.
 * Oracle:    a table of addresses on both sides of each range's edges, for all three kinds of peer.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "net/address.h"

static void test_loopback_host(void **state)
{
    (void)state;
    static const char *const here[] = {"localhost",  "LocalHost",        "127.0.0.1",
                                       "127.8.9.10", "127.255.255.255",  "::1",
                                       "[::1]",      "[0:0:0:0:0:0:0:1]"};
    static const char *const elsewhere[] = {
        "",
        "[]",
        "[",
        "127",
        "127.1",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "localhost.",
        "localhos",
        "128.0.0.1",
        "126.255.255.255",
        "::",
        "[::2]",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "api.example.com",
        " 127.0.0.1",
        "127.0.0.256",
        "0127.0.0.1",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < OP_COUNT(here); i++)
        assert_true(op_host_is_loopback(op_str_from(here[i])));
    for (size_t i = 0; i < OP_COUNT(elsewhere); i++)
        assert_false(op_host_is_loopback(op_str_from(elsewhere[i])));
    assert_false(op_host_is_loopback((struct op_str){"localhost\0x", 11}));
    assert_false(op_host_is_loopback(OP_STR_NULL));
}

static const char *refusal(const char *text, enum op_peer peer)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return op_address_refusal((struct sockaddr *)&v4, sizeof(v4), peer);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return op_address_refusal((struct sockaddr *)&v6, sizeof(v6), peer);
}

static void test_addresses(void **state)
{
    (void)state;
    /* Allowed as: r another machine, l this machine, p a proxy. */
    static const struct {
        const char *address;
        const char *allowed;
    } rows[] = {
        {"0.0.0.0", ""},
        {"0.255.255.255", ""},
        {"1.0.0.0", "rp"},
        {"8.8.8.8", "rp"},
        {"10.0.0.1", "rp"},
        {"126.255.255.255", "rp"},
        {"127.0.0.0", "lp"},
        {"127.0.0.1", "lp"},
        {"127.255.255.255", "lp"},
        {"128.0.0.0", "rp"},
        {"169.253.255.255", "rp"},
        {"169.254.0.0", ""},
        {"169.254.169.254", ""},
        {"169.254.255.255", ""},
        {"169.255.0.0", "rp"},
        {"223.255.255.255", "rp"},
        {"224.0.0.0", ""},
        {"239.255.255.255", ""},
        {"240.0.0.0", ""},
        {"255.255.255.255", ""},
        {"::", ""},
        {"::1", "lp"},
        {"::2", ""},
        {"2001:db8::1", "rp"},
        {"fc00::1", "rp"},
        {"fe7f:ffff::1", "rp"},
        {"fe80::1", ""},
        {"febf:ffff::1", ""},
        {"fec0::1", "rp"},
        {"ff00::1", ""},
        {"ff02::1", ""},
        {"::ffff:127.0.0.1", "lp"},
        {"::ffff:8.8.8.8", "rp"},
        {"::ffff:169.254.169.254", ""},
        {"::ffff:0.0.0.0", ""},
        {"::ffff:224.0.0.1", ""},
        {"::127.0.0.1", "lp"},
        {"::169.254.169.254", ""},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        static const char kinds[] = "rlp";
        for (int k = 0; k < 3; k++) {
            static const enum op_peer peers[] = {OP_PEER_REMOTE, OP_PEER_LOOPBACK,
                                                 OP_PEER_PROXY};
            bool allowed = refusal(rows[i].address, peers[k]) == NULL;
            if (allowed != (strchr(rows[i].allowed, kinds[k]) != NULL))
                fail_msg("%s as %c: %d", rows[i].address, kinds[k], allowed);
        }
    }
}

static void test_strange_families(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};
    for (int peer = 0; peer < 3; peer++) {
        assert_non_null(
            op_address_refusal((struct sockaddr *)&un, sizeof(un), (enum op_peer)peer));
        assert_non_null(op_address_refusal((struct sockaddr *)&v4, 4, (enum op_peer)peer));
    }
}

/* op_url_port: its own port, else the scheme's; 0 for what has none. */
static void test_ports(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int port;
    } rows[] = {
        {"https://api.example.com", 443},
        {"https://api.example.com/v1:99?x=:7", 443},
        {"http://127.0.0.1:8080/v1", 8080},
        {"http://localhost", 80},
        {"https://[::1]:4443/x", 4443},
        {"https://[2001:db8::1]", 443},
        {"https://user:pass@host:8443", 8443},
        {"https://user:77@host", 443},
        {"socks5h://proxy", 1080},
        {"socks5://proxy:9050", 9050},
        {"https://host:", 443},
        {"https://host:70000", 0},
        {"https://host:x", 0},
        {"ftp://host", 0},
        {"host:80", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (op_url_port(rows[i].url) != rows[i].port)
            fail_msg("%s: %d", rows[i].url, op_url_port(rows[i].url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback_host),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_strange_families),
        cmocka_unit_test(test_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
