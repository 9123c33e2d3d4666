import type { Discovered } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';

/** The service of a registry that an answer is for. */
export interface AnsweredService {
  /** Type of the registry. */
  readonly type: string;
  /** Name of the ServiceRegistry. */
  readonly registry: string;
  readonly service: string;
  /** The parsed section of the backend. */
  readonly options: unknown;
}

/** A complete answer. `endpoints`: those that the options of the backend select. */
export function knownAnswer(
  { type, registry, service, options }: AnsweredService,
  endpoints: readonly Endpoint[],
): Discovered {
  return {
    state: 'known',
    endpoints,
    basis: `${type} ${registry} ${service} ${JSON.stringify(options ?? null)}`,
  };
}

/** A complete answer without instances for a service that never had one: its name may be wrong. */
export function neverListedAnswer({ registry, service }: AnsweredService): Discovered {
  return {
    state: 'absent',
    reason: 'ServiceUnknownToRegistry',
    message: `ServiceRegistry ${registry} has listed no instance of service ${service} yet: register an instance, or correct the name`,
  };
}
