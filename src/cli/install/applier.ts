import { OPERATOR } from '../../api/group.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Manifest } from './manifests.ts';

/** An object as the API server returns it. */
export interface LiveObject {
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

/** The API path of an object of an installation. */
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

/** `ClusterRole/gateway-upstream-operator` or `Role/default/gateway-upstream-operator`. */
export function nameOf({ kind, metadata: { name, namespace } }: Manifest): string {
  return `${kind}/${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

/** Resolves to undefined if the object does not exist. Rejects with `KubeApiError`. */
export async function getObject(
  transport: KubeTransport,
  path: string,
  signal: AbortSignal,
): Promise<LiveObject | undefined> {
  try {
    return (await transport.get(path, { signal })) as LiveObject;
  } catch (error) {
    if (error instanceof KubeApiError && error.status === 404) return undefined;
    throw error;
  }
}

/** Server-side apply of `manifest`. Rejects with `KubeApiError`. */
export async function apply(
  transport: KubeTransport,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<Applied> {
  const path = pathOf(manifest);
  const before = await getObject(transport, path, signal);
  // The manifest sets only the name, and a user may be allowed to use a namespace but not to change it.
  if (manifest.kind === 'Namespace' && before !== undefined) return 'unchanged';
  const after = (await transport.send({
    method: 'PATCH',
    path,
    query: { fieldManager: OPERATOR, force: 'true' },
    contentType: 'application/apply-patch+yaml',
    body: manifest,
    signal,
  })) as LiveObject;
  if (before === undefined) return 'created';
  return before.metadata.resourceVersion === after.metadata.resourceVersion ? 'unchanged' : 'configured';
}

/** Deletes the object at `path`. Resolves to false if it did not exist. Rejects with `KubeApiError`. */
export async function remove(transport: KubeTransport, path: string, signal: AbortSignal): Promise<boolean> {
  try {
    await transport.send({ method: 'DELETE', path, signal });
    return true;
  } catch (error) {
    if (error instanceof KubeApiError && error.status === 404) return false;
    throw error;
  }
}
