import type { Addressing } from '../api/addressing.ts';
import type { Backend, GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import { type InstanceChoice, registryBackendOf } from '../api/registry-section.ts';
import type { CompleteAnswer, Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { RegistryServiceRef, ServicePortRef } from '../model/reference.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import { POD, type Via } from './addressing.ts';
import type { Excluded } from './nodes.ts';
import type { RegistryAddresses } from './registry-instances.ts';
import { protocolOf } from './traffic.ts';

/** The target of a backend: a port of a Service, a service in a registry, or addresses in the spec. */
export type BackendTarget =
  | {
      readonly kind: 'service';
      readonly ref: ServicePortRef;
      readonly weight: number;
      readonly addressing: Addressing;
    }
  | {
      readonly kind: 'registry';
      readonly ref: RegistryServiceRef;
      readonly choice: InstanceChoice;
      readonly weight: number;
    }
  | {
      readonly kind: 'addresses';
      readonly addresses: NonNullable<Backend['addresses']>;
      readonly weight: number;
    };

/** A target whose endpoints come from a discovery source. */
export type ReferringTarget = Extract<BackendTarget, { kind: 'service' | 'registry' }>;

export type ResolvedBackend =
  | {
      readonly target: ReferringTarget;
      readonly found: Discovered | NotPermitted;
      /** The complete answer of the source from which `found` was derived; absent if there is none yet. */
      readonly answer?: CompleteAnswer;
      /** Why the source has no current answer; `answer` is then its last complete one. */
      readonly outdated?: UnknownAnswer;
      /**
       * The nodes in the gateway that carry the mark of this backend, which has not answered since the operator started. They
       * stand in for its endpoints.
       */
      readonly recognized?: readonly UpstreamNode[];
      /** What the gateway receives in place of the endpoints; absent for the endpoints themselves. */
      readonly via?: Via;
      /**
       * Addresses that the connection or the registry does not allow, and instances of weight 0; neither `found` nor `via`
       * contains them.
       */
      readonly leftOut?: readonly Excluded[];
      /** How many instances of the registry do not have the metadata that the backend requires; `found` lacks them. */
      readonly unmatched?: number;
      /** The addresses that the registry allows, for while the ServiceRegistry cannot be read. */
      readonly registryAddresses?: RegistryAddresses;
    }
  | { readonly target: Extract<BackendTarget, { kind: 'addresses' }> };

/** The object may not use the reference. */
export interface NotPermitted {
  readonly state: 'notPermitted';
  readonly reason:
    | 'RefNotPermitted'
    | 'StaticAddressesDenied'
    | 'AddressNotAllowed'
    | 'RegistryNotAllowed'
    | 'RegistryServiceNotAllowed';
  readonly message: string;
}

/** The targets of the backends of `spec`, an object in `namespace`. `addressing`: the default of the connection. */
export function backendTargets(
  spec: GatewayUpstreamSpec,
  namespace: string,
  addressing: Addressing = POD,
): readonly BackendTarget[] {
  const protocol = protocolOf(spec.scheme);
  return spec.backends.map((backend): BackendTarget => {
    const { serviceRef, serviceName, addresses, weight } = backend;
    const service = { kind: 'service', weight, addressing: backend.addressing ?? addressing } as const;
    if (serviceRef !== undefined) {
      return {
        ...service,
        ref: {
          source: 'Kubernetes',
          namespace: serviceRef.namespace ?? namespace,
          name: serviceRef.name,
          port: { by: 'servicePort', port: serviceRef.port },
          protocol,
        },
      };
    }
    if (serviceName !== undefined) {
      const [, refNamespace = '', name = '', port = ''] = /^([^/]*)\/([^:]*):(.*)$/.exec(serviceName) ?? [];
      return {
        ...service,
        ref: {
          source: 'Kubernetes',
          namespace: refNamespace,
          name,
          port: { by: 'endpointPort', port },
          protocol,
        },
      };
    }
    const registry = registryBackendOf(backend);
    if (registry !== undefined) {
      const { choice, ...ref } = registry;
      return { kind: 'registry', ref: { source: 'Registry', ...ref }, choice, weight };
    }
    return { kind: 'addresses', addresses: addresses ?? [], weight };
  });
}

/** The answer for a backend; undefined for a backend with addresses. */
export function foundBy(backend: ResolvedBackend) {
  return 'found' in backend ? backend.found : undefined;
}

/** Whether nodes in the gateway stand in for the endpoints of the backend. */
export function isRecognized(backend: ResolvedBackend | undefined): boolean {
  return backend !== undefined && 'found' in backend && backend.recognized !== undefined;
}

/** Why the answer of a backend is outdated; undefined also while a source restarts, since it will answer soon. */
export function outdatedOf(backend: ResolvedBackend): UnknownAnswer | undefined {
  const outdated = 'found' in backend ? backend.outdated : undefined;
  return outdated?.beginning === true ? undefined : outdated;
}

/** Whether `target` can receive traffic, by its weights. */
export function carriesWeight(target: BackendTarget): boolean {
  return (
    target.weight > 0 && (target.kind !== 'addresses' || target.addresses.some(({ weight }) => weight > 0))
  );
}
