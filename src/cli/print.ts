import type { Catalog } from '../catalog.ts';
import { type ManifestOptions, manifestsYaml } from './install/manifests.ts';

/** Prints the manifests of an installation to standard output. */
export function printManifests(catalog: Catalog, options: ManifestOptions): void {
  process.stdout.write(manifestsYaml(catalog, options));
}
