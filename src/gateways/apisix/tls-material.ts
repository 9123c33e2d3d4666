import { X509Certificate } from 'node:crypto';
import { keyPairProblem } from '../../decide/key-pair.ts';
import type { TlsSettings } from '../../runtime/http/agents.ts';

/**
 * Throws an `Error` that names the Secret to correct. Node.js ignores an invalid certificate authority, and detects a wrong
 * key only when it connects.
 */
export function assertUsable({ ca, clientCert, clientKey }: TlsSettings): void {
  if (ca !== undefined) {
    const blocks = ca.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? [''];
    if (!blocks.every((block) => succeeds(() => new X509Certificate(block)))) {
      throw new Error('the Secret of spec.apisix.tls.caSecretRef must contain only PEM certificates');
    }
  }
  if (clientCert === undefined && clientKey === undefined) return;
  const pair = 'the Secret of spec.apisix.tls.clientCertificateSecretRef';
  if (clientCert === undefined || clientKey === undefined) {
    throw new Error(`${pair} must contain both a certificate and its key`);
  }
  const problem = keyPairProblem({ certificate: clientCert, key: clientKey });
  if (problem !== undefined) throw new Error(`${pair} holds ${problem}`);
}

function succeeds(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}
