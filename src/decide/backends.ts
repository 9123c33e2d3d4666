import type { Addressing } from '../api/addressing.ts';
import type { Backend, GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import { registryBackendOf } from '../api/registry-section.ts';
import type { CompleteAnswer, Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { RegistryServiceRef, ServicePortRef } from '../model/reference.ts';
import { POD, type Via } from './addressing.ts';
import type { Excluded } from './nodes.ts';
import { protocolOf } from './traffic.ts';

/** What a backend's reference leads to: a Service's port, a service of a registry, or places written in the spec. */
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
      readonly weight: number;
    }
  | {
      readonly kind: 'addresses';
      readonly addresses: NonNullable<Backend['addresses']>;
      readonly weight: number;
    };

/** A target whose endpoints a discovery source knows. */
export type ReferringTarget = Extract<BackendTarget, { kind: 'service' | 'registry' }>;

export type ResolvedBackend =
  | {
      readonly target: ReferringTarget;
      readonly found: Discovered | NotPermitted;
      /** The source's complete answer that `found` was made from; absent where there is none yet. */
      readonly answer?: CompleteAnswer;
      /** Why the source does not know now; `answer` is then its last complete one. */
      readonly outdated?: UnknownAnswer;
      /** What stands in the gateway for the endpoints that were found; absent: they themselves. */
      readonly via?: Via;
      /** Addresses that the connection does not allow in the gateway; they are in neither `found` nor `via`. */
      readonly notAllowed?: readonly Excluded[];
    }
  | { readonly target: Extract<BackendTarget, { kind: 'addresses' }> };

/** The reference leads where this object may not look. */
export interface NotPermitted {
  readonly state: 'notPermitted';
  readonly reason: 'RefNotPermitted' | 'StaticAddressesDenied' | 'AddressNotAllowed';
  readonly message: string;
}

/** What the backends of `spec`, an object of `namespace`, lead to. `addressing`: the connection's. */
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
    if (registry !== undefined) return { kind: 'registry', ref: { source: 'Registry', ...registry }, weight };
    return { kind: 'addresses', addresses: addresses ?? [], weight };
  });
}

/** Undefined for a backend that refers to nothing. */
export function foundBy(backend: ResolvedBackend) {
  return 'found' in backend ? backend.found : undefined;
}

/** Undefined for a source that has only begun again: it answers in a moment. */
export function outdatedOf(backend: ResolvedBackend): UnknownAnswer | undefined {
  const outdated = 'found' in backend ? backend.outdated : undefined;
  return outdated?.beginning === true ? undefined : outdated;
}

/** Whether anything behind `target` can ever get traffic. */
export function carriesWeight(target: BackendTarget): boolean {
  return (
    target.weight > 0 && (target.kind !== 'addresses' || target.addresses.some(({ weight }) => weight > 0))
  );
}
