import { KubeApiError } from './kube-error.ts';
import type { KubeTransport } from './transport.ts';

/**
 * Whether the API server serves any version of a kind. Uses API discovery, which needs no additional permission. Without
 * permission for the kind, a request for the kind itself returns 403 whether it is served or not. Rejects with
 * `KubeApiError`.
 */
export async function isServed(
  transport: KubeTransport,
  { group, plural }: { readonly group: string; readonly plural: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { versions = [] } = await discover<{ readonly versions?: readonly { readonly version: string }[] }>(
    transport,
    `/apis/${group}`,
    signal,
  );
  const lists = await Promise.all(
    versions.map(({ version }) =>
      discover<{ readonly resources?: readonly { readonly name: string }[] }>(
        transport,
        `/apis/${group}/${version}`,
        signal,
      ),
    ),
  );
  return lists.some(({ resources = [] }) => resources.some(({ name }) => name === plural));
}

/** The discovery document at `path`. Empty if it does not exist. */
async function discover<T extends object>(
  transport: KubeTransport,
  path: string,
  signal: AbortSignal,
): Promise<Partial<T>> {
  try {
    return ((await transport.get(path, { signal })) ?? {}) as T;
  } catch (error) {
    if (error instanceof KubeApiError && error.status === 404) return {};
    throw error;
  }
}
