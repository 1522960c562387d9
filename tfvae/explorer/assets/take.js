// A picture of the user's own: dropped, pasted or chosen, encoded, and edited from there.

import { fit, paint, read } from "./picture.js";

const $ = (id) => document.getElementById(id);

export function taking(explorer, problem) {
  const { state, engine, image } = explorer;
  let picture = null;
  let name = "";

  const encode = async () => {
    const values = fit(picture, image, $("invert").checked);
    paint($("given"), values, image);
    const record = engine.endpoints.encode.inputs.find((each) => each.name === "condition");
    const given = { x: values };
    // Where the class may be left out, the model finds it out.
    if (record && record.default === null) given.condition = [state.condition].flat();
    const encoded = await engine.run("encode", 1, given);
    explorer.place(explorer.joined(encoded, 0, (level) => level.replace("z", "mean")), "image", name);
  };

  const take = async (file) => {
    try {
      picture = await read(file);
      name = file.name || "a picture";
      $("taken").hidden = false;
      $("given-name").textContent =
        `${name}, as the model sees it: ${image.width} × ${image.height}` +
        (image.channels === 3 ? "" : ", grey");
      $("problem").hidden = true;
      await encode();
    } catch (error) {
      problem(error);
    }
  };

  $("file").addEventListener("change", () => {
    if ($("file").files.length) take($("file").files[0]);
    $("file").value = ""; // the same file once more is a change, too
  });
  $("invert").addEventListener("change", () => picture && encode().catch(problem));

  let inside = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => {
    if (files(event)) inside += 1;
    document.body.classList.toggle("over", inside > 0);
  });
  addEventListener("dragleave", (event) => {
    if (files(event)) inside = Math.max(0, inside - 1);
    document.body.classList.toggle("over", inside > 0);
  });
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    inside = 0;
    document.body.classList.remove("over");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (file) take(file);
  });
}
