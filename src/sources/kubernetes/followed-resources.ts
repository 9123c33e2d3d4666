import { type FollowedResource, followed } from '../../model/followed-resource.ts';
import {
  type EndpointsFacts,
  type ServiceFacts,
  SLICES_OF_SERVICES,
  type SliceFacts,
  serviceIndexes,
  sliceIndexes,
  transformEndpoints,
  transformService,
  transformSlice,
  UNMANAGED_ENDPOINTS,
  unreadableEndpoints,
  unreadableService,
  unreadableSlice,
} from './transform.ts';

/** The kinds that the Kubernetes source watches. */
export const kubernetesResources: {
  readonly services: FollowedResource<ServiceFacts>;
  readonly slices: FollowedResource<SliceFacts>;
  readonly endpoints: FollowedResource<EndpointsFacts>;
} = {
  services: {
    group: '',
    version: 'v1',
    kind: 'Service',
    plural: 'services',
    scope: 'Namespaced',
    transform: transformService,
    unreadable: unreadableService,
    indexes: serviceIndexes,
    permissions: followed(),
  },
  slices: {
    group: 'discovery.k8s.io',
    version: 'v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    scope: 'Namespaced',
    query: SLICES_OF_SERVICES,
    transform: transformSlice,
    unreadable: unreadableSlice,
    indexes: sliceIndexes,
    permissions: followed(),
  },
  endpoints: {
    group: '',
    version: 'v1',
    kind: 'Endpoints',
    plural: 'endpoints',
    scope: 'Namespaced',
    enabledBy: 'readEndpoints',
    query: UNMANAGED_ENDPOINTS,
    transform: transformEndpoints,
    unreadable: unreadableEndpoints,
    indexes: {},
    permissions: followed(),
  },
};
