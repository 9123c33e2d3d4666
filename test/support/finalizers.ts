import type { CustomKind, ObjectWriter } from '../../src/kube/object-writer.ts';
import type { Store } from '../../src/kube/store.ts';
import type { GatewayConnection, GatewayUpstream } from '../../src/model/objects.ts';
import type { StoreView } from '../../src/model/store-view.ts';

interface Stores {
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
}

/** Changes the finalizers of objects in `stores`, like the API server and its watch. */
export function finalizersOf({
  upstreams,
  connections,
}: Stores): Pick<ObjectWriter, 'addFinalizer' | 'removeFinalizer'> {
  const add = <T extends GatewayUpstream | GatewayConnection>(
    store: StoreView<T>,
    { namespace, name }: { readonly namespace: string; readonly name: string },
    finalizer: string,
  ): boolean => {
    const object = store.get(namespace, name);
    if (object === undefined || object.deletionTimestamp !== undefined) return false;
    if (object.finalizers.includes(finalizer)) return true;
    (store as Store<T>).upsert({
      ...object,
      resourceVersion: `${object.resourceVersion}+`,
      finalizers: [...object.finalizers, finalizer],
    });
    return true;
  };
  const remove = <T extends GatewayUpstream | GatewayConnection>(
    store: StoreView<T>,
    { namespace, name }: { readonly namespace: string; readonly name: string },
    finalizer: string,
  ): void => {
    const object = store.get(namespace, name);
    if (object === undefined) return;
    const finalizers = object.finalizers.filter((one) => one !== finalizer);
    if (finalizers.length === 0 && object.deletionTimestamp !== undefined) (store as Store<T>).remove(object);
    else (store as Store<T>).upsert({ ...object, resourceVersion: `${object.resourceVersion}+`, finalizers });
  };
  return {
    async removeFinalizer(kind: CustomKind, object, finalizer) {
      if (kind === 'GatewayUpstream') remove(upstreams, object, finalizer);
      else remove(connections, object, finalizer);
    },
    async addFinalizer(kind: CustomKind, object, finalizer) {
      return kind === 'GatewayUpstream'
        ? add(upstreams, object, finalizer)
        : add(connections, object, finalizer);
    },
  };
}
