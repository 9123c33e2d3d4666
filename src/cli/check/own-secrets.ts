import { listAll } from '../../kube/list-all.ts';
import { NO_HELM_RELEASES, transformSecret } from '../../kube/objects.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { SecretFacts } from '../../model/objects.ts';

/** The Secrets in the operator's namespace, by name. Rejects with `KubeApiError`. */
export async function ownSecrets(
  {
    transport,
    operatorNamespace: namespace,
  }: { readonly transport: KubeTransport; readonly operatorNamespace: string },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, SecretFacts>> {
  const path = resourcePath({ group: '', version: 'v1', plural: 'secrets', namespace });
  const secrets = ((await listAll(transport, path, NO_HELM_RELEASES, signal)) ?? []).flatMap(
    (raw) => transformSecret(raw) ?? [],
  );
  return new Map(secrets.map((secret) => [secret.name, secret]));
}
