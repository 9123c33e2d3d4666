import { RegistryError } from './protocol.ts';

/** Of one service. Gateways refuse upstreams with about twice as many nodes. */
const MAX_INSTANCES = 10_000;
/** Of all instances of one service, as JSON, in characters. It fits 10,000 instances with 400 characters each. */
const MAX_KEPT_CHARACTERS = 4 * 1024 * 1024;

/**
 * The instances of one answer. Clients of the registry decide how many there are and how large they are, so both are
 * limited: one service must not use up the memory that all services share.
 */
export class InstanceCollector<Instance> {
  readonly #instances: Instance[] = [];
  #characters = 0;

  get instances(): readonly Instance[] {
    return this.#instances;
  }

  /** `instance`: only what is kept of it. Throws `RegistryError` beyond the limits. */
  add(instance: Instance): void {
    this.#instances.push(instance);
    this.#characters += JSON.stringify(instance).length;
    if (this.#instances.length > MAX_INSTANCES) throw tooLarge('the service has more than 10,000 instances');
    if (this.#characters > MAX_KEPT_CHARACTERS) {
      throw tooLarge('the addresses, tags and metadata of the instances have more than 4 MiB in total');
    }
  }
}

function tooLarge(problem: string): RegistryError {
  return new RegistryError('InvalidAnswer', 'service', {
    problem,
    remedy: 'register fewer instances under this service, or less metadata',
  });
}
