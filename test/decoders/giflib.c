/* Decodes every GIF in the folders it is given by giflib.
   One line for each: file, decoder, digest (FNV-1a) of all that was decoded; "-" where it was refused. */
#include <dirent.h>
#include <gif_lib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t digest;

static void add (const void *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) digest = (digest ^ ((const uint8_t *) bytes)[i]) * 1099511628211u;
}

static void add_number (int value) { add(&value, sizeof value); }

static void add_map (const ColorMapObject *map) {
  if (map) add(map->Colors, map->ColorCount * sizeof *map->Colors);
}

static int decode (const char *path) {
  GifFileType *gif = DGifOpenFileName(path, NULL);
  if (!gif) return 0;
  int whole = DGifSlurp(gif) == GIF_OK;
  digest = 14695981039346656037u;
  add_number(gif->SWidth), add_number(gif->SHeight), add_map(gif->SColorMap);
  for (int i = 0; i < gif->ImageCount; i++) {
    const SavedImage *image = &gif->SavedImages[i];
    GraphicsControlBlock control = { 0 };
    DGifSavedExtensionToGCB(gif, i, &control);
    add_number(control.DisposalMode), add_number(control.DelayTime), add_number(control.TransparentColor);
    add_number(image->ImageDesc.Left), add_number(image->ImageDesc.Top);
    add_number(image->ImageDesc.Width), add_number(image->ImageDesc.Height), add_map(image->ImageDesc.ColorMap);
    add(image->RasterBits, (size_t) image->ImageDesc.Width * image->ImageDesc.Height);
  }
  DGifCloseFile(gif, NULL);
  return whole;
}

int main (int count, char **folders) {
  for (int i = 1; i < count; i++) {
    DIR *folder = opendir(folders[i]);
    if (!folder) return 1;
    for (struct dirent *entry; (entry = readdir(folder));) {
      const char *extension = strrchr(entry->d_name, '.');
      if (!extension || strcmp(extension, ".gif")) continue;
      char path[4096];
      snprintf(path, sizeof path, "%s/%s", folders[i], entry->d_name);
      if (decode(path)) printf("%s\tgiflib\t%llx\n", path, (unsigned long long) digest);
      else printf("%s\tgiflib\t-\n", path);
    }
    closedir(folder);
  }
}
