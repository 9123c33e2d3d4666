import { KubeApiError } from './kube-error.ts';
import type { KubeTransport } from './transport.ts';

/**
 * Whether the API server serves any version of a kind, by its discovery, which needs no right of ours. A request for the
 * kind itself does not tell whoever may not make it: 403 comes before 404. Rejects with `KubeApiError`.
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

/** What is at `path` of the discovery; empty where there is nothing. */
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
