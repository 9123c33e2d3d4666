import { type ManifestOptions, manifestsYaml } from './install/manifests.ts';

/** Prints the manifests of an installation. */
export function printManifests(options: ManifestOptions): void {
  process.stdout.write(manifestsYaml(options));
}
