import { KubeApiError } from './kube-error.ts';
import type { KubeTransport } from './transport.ts';

/** All objects of a collection. Undefined if the API server does not serve it. Rejects with `KubeApiError`. */
export async function listAll(
  transport: KubeTransport,
  path: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<readonly unknown[] | undefined> {
  const items: unknown[] = [];
  let position: string | undefined;
  do {
    const page = { ...query, limit: '500', ...(position === undefined ? {} : { continue: position }) };
    let answer: { readonly items?: readonly unknown[]; readonly metadata?: { readonly continue?: string } };
    try {
      answer = (await transport.get(path, { query: page, signal })) as typeof answer;
    } catch (error) {
      if (error instanceof KubeApiError && error.status === 404) return undefined;
      throw error;
    }
    items.push(...(answer.items ?? []));
    position = answer.metadata?.continue || undefined;
  } while (position !== undefined);
  return items;
}
