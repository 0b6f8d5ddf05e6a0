/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HOST_ROOM 64

bool op_host_is_loopback(struct op_str host)
{
    char text[HOST_ROOM];
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host.ptr++;
        host.len -= 2;
    }
    if (host.len == 0 || host.len >= sizeof(text))
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (strlen(text) != host.len)
        return false;
    if (strcasecmp(text, "localhost") == 0)
        return true;
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    struct in6_addr v6;
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

uint16_t op_url_port(const char *url)
{
    const char *mark = strstr(url, "://");
    if (!mark)
        return 0;
    struct op_str scheme = {url, (size_t)(mark - url)};
    struct op_str host = {mark + 3, strcspn(mark + 3, "/?#")};
    const char *at = memrchr(host.ptr, '@', host.len);
    const char *begin = at ? at + 1 : host.ptr, *end = host.ptr + host.len;
    const char *bracket = memrchr(begin, ']', (size_t)(end - begin));
    begin = bracket ? bracket : begin;
    const char *colon = memrchr(begin, ':', (size_t)(end - begin));
    int64_t port = 0;
    if (colon && colon + 1 < end) {
        struct op_str digits = {colon + 1, (size_t)(end - colon - 1)};
        return op_str_int64(digits, &port) && port > 0 && port <= UINT16_MAX ? (uint16_t)port
                                                                             : 0;
    }
    if (op_str_is(scheme, "https"))
        return 443;
    if (op_str_is(scheme, "http"))
        return 80;
    return op_str_starts(scheme, "socks") ? 1080 : 0;
}

static const char *refuse_loopback(bool is_loopback, enum op_peer peer)
{
    if (is_loopback && peer == OP_PEER_REMOTE)
        return "is this machine although the URL names another";
    if (!is_loopback && peer == OP_PEER_LOOPBACK)
        return "is another machine although the URL names this one";
    return NULL;
}

/* RFC 1918, the block that carriers and container networks share (RFC 6598), and this machine. */
static bool is_private_v4(uint32_t ip)
{
    return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 || ip >> 22 == 0x191 ||
           ip >> 24 == 127;
}

static const char *refuse_public(bool is_private, enum op_peer peer)
{
    return peer == OP_PEER_PRIVATE && !is_private
               ? "is in no private network, and http:// is refused elsewhere"
               : NULL;
}

static const char *refuse_v4(uint32_t ip, enum op_peer peer)
{
    if (ip >> 24 == 0)
        return "is the unspecified network 0.0.0.0/8";
    if (ip >> 16 == 0xa9fe)
        return "is link-local";
    if (ip >> 28 == 0xe)
        return "is multicast";
    if (ip >> 28 == 0xf)
        return "is broadcast or reserved";
    const char *why = refuse_public(is_private_v4(ip), peer);
    return why ? why : refuse_loopback(ip >> 24 == 127, peer);
}

static const char *refuse_v6(const struct in6_addr *ip, enum op_peer peer)
{
    /* An IPv4 address in IPv6 clothes (mapped, or the deprecated compatible form) reaches the same
     * machine; ::1 has the compatible form but is the IPv6 loopback. */
    if (IN6_IS_ADDR_LOOPBACK(ip))
        return refuse_loopback(true, peer);
    if (IN6_IS_ADDR_UNSPECIFIED(ip))
        return "is the unspecified address ::";
    if (IN6_IS_ADDR_V4MAPPED(ip) || IN6_IS_ADDR_V4COMPAT(ip)) {
        const uint8_t *b = ip->s6_addr + 12;
        return refuse_v4(
            (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3], peer);
    }
    if (IN6_IS_ADDR_LINKLOCAL(ip))
        return "is link-local";
    if (IN6_IS_ADDR_MULTICAST(ip))
        return "is multicast";
    /* fc00::/7, RFC 4193 */
    const char *why = refuse_public((ip->s6_addr[0] & 0xfe) == 0xfc, peer);
    return why ? why : refuse_loopback(false, peer);
}

const char *op_address_refusal(const struct sockaddr *address, socklen_t len, enum op_peer peer)
{
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        return refuse_v4(ntohl(v4.sin_addr.s_addr), peer);
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        return refuse_v6(&v6.sin6_addr, peer);
    }
    return "is of an unknown family";
}
