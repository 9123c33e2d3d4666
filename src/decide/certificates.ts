import type { FoundKeyPair } from '../model/key-pair.ts';
import type { CertificateSecret, GatewayUpstream } from '../model/objects.ts';
import type { StoreView } from '../model/store-view.ts';

/** What decides which client certificates an object may have the gateway show. */
export interface CertificateRules {
  /** Secrets with certificates, by namespace: those that `secretNamespaces` of the configuration names. */
  readonly certificates: ReadonlyMap<string, StoreView<CertificateSecret>>;
}

/** The Secret of its own namespace whose certificate `object` has the gateway show; undefined: none. */
export function certificateName({ spec }: GatewayUpstream): string | undefined {
  return spec.ok ? spec.value.tls?.clientCertificateSecretRef?.name : undefined;
}

/** What the Secret holds that `object` refers to; undefined: it refers to none. */
export function certificateOf(
  { certificates }: CertificateRules,
  object: GatewayUpstream,
): FoundKeyPair | undefined {
  const { namespace } = object;
  const name = certificateName(object);
  if (name === undefined) return undefined;
  const where = `Secret ${namespace}/${name}`;
  const secrets = certificates.get(namespace);
  if (secrets === undefined) {
    return {
      state: 'unusable',
      reason: 'RefNotPermitted',
      message: `${where} cannot be read because secretNamespaces in the operator's configuration does not include ${namespace}: add the namespace there and install its Role (config.secretNamespaces in the chart does both), or remove spec.tls.clientCertificateSecretRef; until then, ${KEPT}`,
    };
  }
  if (secrets.state.state !== 'synced') {
    const problem = secrets.state.state === 'syncing' ? secrets.state.problem : undefined;
    return {
      state: 'unknown',
      beginning: problem === undefined,
      message: `Secrets in namespace ${namespace} are not listed ${problem === undefined ? 'yet' : `(${problem})`}: ${KEPT}`,
    };
  }
  const secret = secrets.get(namespace, name);
  if (secret?.pair.ok === true) return { state: 'known', pair: secret.pair.value };
  const problem = secret === undefined ? 'of type kubernetes.io/tls does not exist' : secret.pair.message;
  return {
    state: 'unusable',
    reason: 'SecretNotFound',
    message: `${where} ${problem}: put a certificate into tls.crt and its key into tls.key, or correct spec.tls.clientCertificateSecretRef; until then, ${KEPT}`,
  };
}

const KEPT = "the gateway's current configuration is unchanged, including its nodes";
