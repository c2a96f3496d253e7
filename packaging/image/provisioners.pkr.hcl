# Provisioners for the `build` block of a Packer template that has made a user `runner` and installed the runner's unit. Nothing
# of one machine is fixed here: the agent makes its folders when it starts, and it starts when the image does.

provisioner "file" {
  source      = "runner-agent_0.1.0_amd64.deb"
  destination = "/tmp/runner-agent.deb"
}

provisioner "shell" {
  execute_command = "sudo sh -eu '{{ .Path }}'"
  inline = [
    "dpkg --install /tmp/runner-agent.deb && rm /tmp/runner-agent.deb",
    "sed -i \"s/^#owner: .*/owner: $(id -u runner)/\" /etc/runner-agent/config.yml",
    "for unit in /etc/systemd/system/actions.runner.*.service; do install -D -m 0644 /usr/share/runner-agent/runner.conf \"$unit.d/runner-agent.conf\"; done",
    "runner-agent policy check /etc/runner-agent/floor.yml /etc/runner-agent/policies/*.yml",
    # What this image's kernel can't do is to be known here, and not when the first job fails.
    "runner-agent doctor",
  ]
}
