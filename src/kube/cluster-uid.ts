import type { Stored, StoreView } from '../model/store-view.ts';

/**
 * The uid of namespace kube-system, which identifies the cluster for its lifetime. Undefined if the signal aborts first.
 */
export function clusterUid(namespaces: StoreView<Stored>, signal: AbortSignal): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const read = () => {
    const uid = namespaces.get('', 'kube-system')?.uid;
    if (uid !== undefined) resolve(uid);
  };
  const listener = namespaces.onChange(read);
  read();
  signal.addEventListener('abort', () => resolve(undefined), { once: true });
  return promise.finally(() => listener[Symbol.dispose]());
}
