import { parse } from 'yaml';
import { z } from 'zod';
import { builtInCatalog } from '../../src/catalog.ts';
import { planStore } from '../../src/cli/plan/kinds.ts';
import type { Discovered } from '../../src/model/discovered.ts';
import type { Endpoint } from '../../src/model/endpoint.ts';
import type { ServiceRegistry } from '../../src/model/objects.ts';
import { aborted } from '../../src/runtime/aborted.ts';
import { instanceAddress } from '../../src/sources/registry-source/instance-address.ts';
import type { ControllerSettings } from './controller.ts';

const instance = z.strictObject({
  address: z.string(),
  port: z.int().optional(),
  weight: z.number().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  state: z.enum(['ready', 'notReady', 'leaving']).default('ready'),
});

const registriesFile = z.strictObject({
  /** Specs of ServiceRegistries by name. Default: one that allows every namespace. */
  registries: z.record(z.string(), z.record(z.string(), z.unknown())),
  /** The answers by registry and service. A service that is not listed is unknown to its registry. */
  answers: z.record(z.string(), z.record(z.string(), z.union([z.array(instance), z.literal('unknown')]))),
});

type Instance = z.output<typeof instance>;

/** The registries of a golden case, from the text of its `registries.yaml`. */
export function goldenRegistries(text: string): NonNullable<ControllerSettings['registry']> {
  const { registries, answers } = registriesFile.parse(parse(text));
  return {
    type: 'Registry',
    run: (signal) => aborted(signal),
    subscribe: () => ({ [Symbol.dispose]: () => undefined }),
    read: ({ registry, service }) => answerOf(registry, service, answers[registry]?.[service]),
    departure: () => 'unknown',
    listedElsewhere: () => new Set(),
    registries: planStore({}, Object.entries(registries).map(registryOf), { state: 'synced' }),
  };
}

function registryOf([name, spec]: readonly [string, object]): ServiceRegistry {
  const object = builtInCatalog.registries?.transform({
    metadata: { name, uid: `${name}-uid`, resourceVersion: '1', generation: 1 },
    spec: {
      type: 'Consul',
      consul: { servers: ['http://consul.example.com:8500'] },
      allowedNamespaces: { all: true },
      ...spec,
    },
  });
  if (object === undefined) throw new Error('no registry type is built in');
  return object;
}

function answerOf(
  registry: string,
  service: string,
  answer: readonly Instance[] | 'unknown' | undefined,
): Discovered {
  if (answer === 'unknown') {
    return {
      state: 'unknown',
      beginning: false,
      message: `ServiceRegistry ${registry} gave no complete answer for service ${service}`,
    };
  }
  return answer === undefined
    ? {
        state: 'absent',
        reason: 'ServiceUnknownToRegistry',
        message: `ServiceRegistry ${registry} has listed no instance of service ${service} yet`,
      }
    : { state: 'known', basis: '', endpoints: answer.map(endpointOf) };
}

function endpointOf({ address, port, weight, metadata, state }: Instance): Endpoint {
  return {
    ...instanceAddress(address),
    ...(port === undefined ? {} : { port }),
    ...(weight === undefined ? {} : { weight }),
    ...(metadata === undefined ? {} : { metadata }),
    ready: state === 'ready',
    serving: state === 'ready',
    terminating: state === 'leaving',
  };
}
