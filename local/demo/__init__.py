"""`make demo`: the main job over the HTTP API, from a file of prompts to images.

- `run`            the command: reads the prompts, starts the stack, runs one execution
- `prompts`        reads the file of prompts
- `execution`      submits, waits for the end, downloads the images
- `progress_bar`   shows the progress meanwhile; `pace` says how fast it paints and why
- `output`         writes images, contact sheet and summary.json
- `report`         prints the results
- `contact_sheet`  one picture of all images
- `api_client`     the HTTP client
"""
