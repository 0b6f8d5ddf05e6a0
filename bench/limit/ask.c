/* SPDX-License-Identifier: MIT */
/*
 * The limit of the realtime bench: libcurl alone. Posts the same body again and again over as many
 * connections as told, keeps nothing, and looks at nothing but the status.
 *
 *     limit-ask URL COUNT CONNECTIONS BODY-FILE
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char body[256 * 1024];
static size_t body_len;

static size_t drop(char *ptr, size_t size, size_t count, void *arg)
{
    (void)ptr;
    (void)arg;
    return size * count;
}

static void add(CURLM *multi, const char *url, const struct curl_slist *headers)
{
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)body_len);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    curl_multi_add_handle(multi, easy);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    long count = atol(argv[2]), connections = atol(argv[3]), started = 0, ended = 0;
    FILE *f = fopen(argv[4], "rb");
    if (!f)
        return 1;
    body_len = fread(body, 1, sizeof(body), f);
    fclose(f);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    for (; started < connections && started < count; started++)
        add(multi, argv[1], headers);
    while (ended < count) {
        int running = 0, left = 0;
        curl_multi_perform(multi, &running);
        for (CURLMsg *msg; (msg = curl_multi_info_read(multi, &left));) {
            CURL *easy = msg->easy_handle;
            long status = 0;
            curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
            if (msg->data.result || status != 200)
                return 1;
            ended++;
            curl_multi_remove_handle(multi, easy);
            if (started++ < count)
                curl_multi_add_handle(multi, easy);
        }
        if (ended < count)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    return 0;
}
