import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyPair } from '../model/key-pair.ts';

/**
 * What a Secret holds instead of a certificate with its key, as the rest of `holds ...`; undefined: the key belongs to the
 * certificate, the first one of a chain.
 */
export function keyPairProblem({ certificate, key }: KeyPair): string | undefined {
  const leaf = made(() => new X509Certificate(certificate));
  if (leaf === undefined) return 'no PEM certificate';
  const own = made(() => createPrivateKey(key));
  if (own === undefined) return 'no unencrypted PEM key';
  return leaf.checkPrivateKey(own) ? undefined : 'a key that does not match its certificate';
}

/** OpenSSL's words about what it cannot read say nothing to anybody, and may quote it. */
function made<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
