import type { RegistryOptions, SecretKeyRef } from '../registry.ts';
import { RegistryError } from './protocol.ts';

/** Fields of a section: both are set, or neither. */
export interface UserRefs {
  readonly usernameSecretRef?: SecretKeyRef | undefined;
  readonly passwordSecretRef?: SecretKeyRef | undefined;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Undefined: requests are anonymous. `read` resolves a reference to the value of a Secret. */
export function credentialsOf(
  { usernameSecretRef, passwordSecretRef }: UserRefs,
  read: (ref: SecretKeyRef) => string,
): Credentials | undefined {
  if (usernameSecretRef === undefined || passwordSecretRef === undefined) return undefined;
  return { username: read(usernameSecretRef), password: read(passwordSecretRef) };
}

/** Throws `RegistryError` where the Secret or its entry is missing, or the entry is empty. */
export function secretValue(secret: RegistryOptions<unknown>['secret'], ref: SecretKeyRef): string {
  const found = secret(ref);
  if (!found.ok) throw new RegistryError('SecretMissing', 'registry', { problem: found.message });
  const value = found.value.trim();
  if (value !== '') return value;
  throw new RegistryError('SecretMissing', 'registry', {
    problem: `Secret ${ref.name} has an empty value for key ${ref.key}`,
    remedy: 'store the value in it',
  });
}
