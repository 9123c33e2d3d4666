import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyPair } from '../model/key-pair.ts';

/**
 * The problem with a certificate and its key, as a noun phrase that follows `holds`; undefined if the key matches the first
 * certificate of the chain.
 */
export function keyPairProblem({ certificate, key }: KeyPair): string | undefined {
  const leaf = made(() => new X509Certificate(certificate));
  if (leaf === undefined) return 'no PEM certificate';
  const own = made(() => createPrivateKey(key));
  if (own === undefined) return 'no unencrypted PEM key';
  return leaf.checkPrivateKey(own) ? undefined : 'a key that does not match its certificate';
}

/** Drops OpenSSL's errors: they do not help the user and may quote the key. */
function made<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
