import { unlisted, unreadableObject } from '../../decide/listing.ts';
import type { Discovered } from '../../model/discovered.ts';
import { objectKey } from '../../model/keys.ts';
import type { ServicePortRef } from '../../model/reference.ts';
import type { StoreView } from '../../model/store-view.ts';
import { aborted } from '../../runtime/aborted.ts';
import type { DiscoverySource } from '../source.ts';
import { RemovedEndpoints } from './removed-endpoints.ts';
import { resolveEndpoints, resolveService } from './resolve.ts';
import { Subscriptions } from './subscriptions.ts';
import {
  ANY_SERVICE,
  BY_SERVICE,
  type EndpointsFacts,
  type ServiceFacts,
  type SliceFacts,
} from './transform.ts';

export interface KubernetesSourceOptions {
  readonly services: StoreView<ServiceFacts>;
  /** With `sliceIndexes`. */
  readonly slices: StoreView<SliceFacts>;
  /** For names that have no Service. Absent: Endpoints are not read. */
  readonly endpoints?: StoreView<EndpointsFacts>;
}

/** Reads Services with their EndpointSlices, all slices of a Service merged, and Endpoints of names without a Service. */
export function createKubernetesSource(stores: KubernetesSourceOptions): DiscoverySource<ServicePortRef> {
  const { slices } = stores;
  const subscriptions = new Subscriptions();
  const removedEndpoints = new RemovedEndpoints();
  return {
    type: 'kubernetes',

    async run(signal) {
      using _listeners = listen(stores, subscriptions, removedEndpoints);
      await aborted(signal);
    },

    subscribe: ({ namespace, name }, changed) => subscriptions.add(namespace, name, changed),

    read: (ref) => read(stores, ref),

    departure({ namespace, name }, what) {
      const terminating = removedEndpoints.wasTerminating(namespace, name, what);
      if (terminating === undefined) return 'unknown';
      return terminating ? 'explained' : 'vanished';
    },

    listedElsewhere(refs, addresses) {
      const own = new Set(refs.map(({ namespace, name }) => objectKey(namespace, name)));
      const listed = new Set<string>();
      for (const slice of slices.list()) {
        if (own.has(objectKey(slice.namespace, slice.service))) continue;
        for (const { address } of slice.endpoints) if (addresses.has(address)) listed.add(address);
      }
      return listed;
    },
  };
}

function listen(
  { services, slices, endpoints }: KubernetesSourceOptions,
  subscriptions: Subscriptions,
  removedEndpoints: RemovedEndpoints,
): Disposable {
  const listeners = new DisposableStack();
  listeners.use(
    services.onChange(({ previous, current }) => {
      const service = current ?? previous;
      if (service !== undefined) subscriptions.notify(services, service.namespace, service.name);
    }),
  );
  listeners.use(
    slices.onChange((event) => {
      const { previous, current } = event;
      removedEndpoints.note(event);
      if (previous?.service === ANY_SERVICE || current?.service === ANY_SERVICE) subscriptions.notifyAll();
      if (previous !== undefined) subscriptions.notify(slices, previous.namespace, previous.service);
      if (current !== undefined && current.service !== previous?.service) {
        subscriptions.notify(slices, current.namespace, current.service);
      }
    }),
  );
  if (endpoints !== undefined) {
    listeners.use(
      endpoints.onChange(({ previous, current }) => {
        const object = current ?? previous;
        if (object !== undefined) subscriptions.notify(endpoints, object.namespace, object.name);
      }),
    );
  }
  const notifyAll = () => subscriptions.notifyAll();
  for (const store of [services, slices, endpoints]) {
    if (store !== undefined) listeners.use(store.onState(notifyAll));
  }
  return listeners;
}

function read({ services, slices, endpoints }: KubernetesSourceOptions, ref: ServicePortRef): Discovered {
  const unknown = unlisted('Services', services) ?? unlisted('EndpointSlices', slices);
  if (unknown !== undefined) return unknown;
  const service = services.get(ref.namespace, ref.name);
  // Only for `serviceName`: `serviceRef` requires a Service.
  if (service === undefined && endpoints !== undefined && ref.port.by === 'endpointPort') {
    const unread = unlisted('Endpoints', endpoints);
    if (unread !== undefined) return unread;
    const written = endpoints.get(ref.namespace, ref.name);
    if (written !== undefined) {
      return unreadableObject('Endpoints', [written]) ?? resolveEndpoints(ref, written);
    }
  }
  const ofService = slices.byIndex(BY_SERVICE, objectKey(ref.namespace, ref.name));
  return (
    unreadableObject('Service', service === undefined ? [] : [service]) ??
    unreadableObject('EndpointSlice', ofService) ??
    unreadableObject('EndpointSlice', slices.byIndex(BY_SERVICE, objectKey(ref.namespace, ANY_SERVICE))) ??
    resolveService(ref, service, ofService)
  );
}
