/*
 * Files of allowed signers, as ssh-keygen(1) reads them, for Ed25519 signatures. A line counts only when it names its
 * namespaces and its last day:
 *
 *   alice@example.org namespaces="holdfast-plan@v1",valid-before="20270101Z" ssh-ed25519 AAAA... comment
 *
 * Principals without wildcards; further options: valid-after. Lines of other key types, of certificate authorities, and
 * lines that do not parse, never count. Times without Z are UTC too.
 */
#ifndef CRYPTO_SIGNERS_H
#define CRYPTO_SIGNERS_H

#include "crypto/crypto.h"

#define SIGNERS_FILE_MAX ((size_t)256 << 10)
#define SIGNERS_PRINCIPAL 256

/*
 * Is the armoured signature one of name_space over p, by a line that counts at now_ns? ret_who gets its first principal.
 * ERR_CORRUPT: by nobody of them; ERR_FORMAT: the signature is none.
 */
int signers_verify(const void *file, size_t n_file, const char *name_space, int64_t now_ns, const void *p, size_t n,
        const char *signature, size_t n_signature, char ret_who[SIGNERS_PRINCIPAL], struct err *err) HF_NODISCARD;

#endif
