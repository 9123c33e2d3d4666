import { OPERATOR } from '../../api/group.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Manifest } from './manifests.ts';

/** What the API server holds under a name. */
export interface Held {
  readonly metadata: {
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export type Applied = 'created' | 'configured' | 'unchanged';

const PLURALS: Readonly<Record<string, string>> = {
  CustomResourceDefinition: 'customresourcedefinitions',
  Namespace: 'namespaces',
  ServiceAccount: 'serviceaccounts',
  Secret: 'secrets',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  Role: 'roles',
  RoleBinding: 'rolebindings',
};

/** The path of an object of one of the kinds that an installation consists of. */
export function pathOf({ apiVersion, kind, metadata }: Manifest): string {
  const [group = '', version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const { name, namespace } = metadata;
  return resourcePath({
    group,
    version: version ?? '',
    plural: PLURALS[kind] ?? '',
    name,
    ...(namespace === undefined ? {} : { namespace }),
  });
}

/** `ClusterRole/gateway-upstream-operator`, with its namespace where it has one. */
export function nameOf({ kind, metadata: { name, namespace } }: Manifest): string {
  return `${kind}/${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

/** Resolves to undefined if there is none. Rejects with `KubeApiError`. */
export async function held(
  transport: KubeTransport,
  path: string,
  signal: AbortSignal,
): Promise<Held | undefined> {
  try {
    return (await transport.get(path, { signal })) as Held;
  } catch (error) {
    if (error instanceof KubeApiError && error.status === 404) return undefined;
    throw error;
  }
}

/** Makes the API server hold `manifest`, by server-side apply. Rejects with `KubeApiError`. */
export async function apply(
  transport: KubeTransport,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<Applied> {
  const path = pathOf(manifest);
  const before = await held(transport, path, signal);
  // It holds nothing of ours but its name, and who may use a namespace may not always change it.
  if (manifest.kind === 'Namespace' && before !== undefined) return 'unchanged';
  const after = (await transport.send({
    method: 'PATCH',
    path,
    query: { fieldManager: OPERATOR, force: 'true' },
    contentType: 'application/apply-patch+yaml',
    body: manifest,
    signal,
  })) as Held;
  if (before === undefined) return 'created';
  return before.metadata.resourceVersion === after.metadata.resourceVersion ? 'unchanged' : 'configured';
}

/** False if there was none. Rejects with `KubeApiError`. */
export async function remove(transport: KubeTransport, path: string, signal: AbortSignal): Promise<boolean> {
  try {
    await transport.send({ method: 'DELETE', path, signal });
    return true;
  } catch (error) {
    if (error instanceof KubeApiError && error.status === 404) return false;
    throw error;
  }
}
